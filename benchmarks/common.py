"""Helpers of the benchmarks: random weights, photos of a few megapixels, and runs in turn."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pnasnet.architecture.plan import Plan

Run = Callable[[NDArray[np.float32]], object]


def random_weights(plan: Plan) -> dict[str, NDArray[np.float32]]:
    """Return random weights that keep activations of order one. Speed does not depend on their values."""
    rng = np.random.default_rng(0)
    return {name: _draw(rng, name, shape) for name, shape in plan.variables().items()}


def _draw(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    leaf = name.rpartition("/")[2]
    if len(shape) == 1:
        return np.full(shape, {"gamma": 0.7, "moving_variance": 1.0}.get(leaf, 0.0), np.float32)
    fan_in = shape[0] * shape[1] if leaf == "depthwise_weights" else prod(shape[:-1])
    return (rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / fan_in))).astype(np.float32)


def in_turn(runs: Mapping[str, Run], images: NDArray[np.float32], rounds: int) -> dict[str, float]:
    """Return each run's median seconds per image. Runs take turns, so that other load on the machine affects all."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(images)
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run(images)
            seconds[name].append((time.perf_counter() - start) / len(images))
    return {name: statistics.median(values) for name, values in seconds.items()}


def enlarged_photos(photos: Path, folder: Path, count: int, megapixels: float = 4.0) -> list[Path]:
    """Write `count` JPEG photos of about `megapixels` to `folder`: the given ones, enlarged."""
    sources = sorted(photos.glob("*.jpg"))
    paths = []
    for index in range(count):
        with Image.open(sources[index % len(sources)]) as picture:
            factor = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
            size = int(picture.width * factor) - index, int(picture.height * factor) - index
            paths.append(folder / f"photo_{index:05}.jpg")
            picture.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    return paths


def machine() -> str:
    """Describe the machine in a line."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = f"{names[0]}, {len(names)} cores" if names else name
    return f"{name}; Python {platform.python_version()}"

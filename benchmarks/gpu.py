"""Images per second on a GPU: this package's network and timm's, relative to the limits of the GPU.

Command:  python benchmarks/gpu.py [--model pnasnet_large ...] [--batch 1 4 16 64 256] [--ways WORD ...]
          python benchmarks/gpu.py --device cpu --dry-run     (a tiny network, traced but not compiled)
Needs:    a clone, and this package with the extra torch; timm is measured if it is installed. Nothing is downloaded.
Ways:     `engine` is the torch engine as users run it, from NumPy arrays to NumPy arrays; `engine ahead` is the same
          with two threads, so that a batch is copied while the previous one is computed. `ours` is its network alone,
          on images that are on the device: eager; in a CUDA graph, as in the engine; in one without merged
          convolutions, or with all depthwise kernels from cuDNN or from torch; and compiled. `timm` receives images
          that are already scaled, in its precision and channels last. Both are compiled by torch.compile in the same
          `--mode`.
Columns:  images/s (median of rounds), peak GPU memory of torch's allocator, the fraction of the limits, and the
          fidelity to float32: smallest cosine, and largest difference relative to the largest feature.
Limits:   a square matrix product and a copy, measured here in the same precision. `arithmetic` and `bandwidth` are the
          times that these would need for the network, as a fraction of the measured time; `floor` is the sum over the
          layers of the larger of the two. Each layer reads its input and its kernel once and writes its output once.
          Separable convolutions count as one layer; ReLU, batch normalization, sums and concatenation do not count.
          Maps that stay in the GPU's cache need less, so small networks can exceed 100 % of `bandwidth` and `floor`.
Decoding: images/s of one CPU core from JPEG files to batches, and the number of cores that keep up with `engine ahead`.
Result:   not measured on a GPU yet. See docs/benchmarks.md.
"""

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
import torch

from gpu_ways import (
    COMPILED_TIMM,
    ENGINE_AHEAD,
    TINY,
    Floats,
    Run,
    Settings,
    Subject,
    Timm,
    UnavailableError,
    Way,
    first_line,
    ours,
    subject,
    to_numpy,
)  # fmt: skip
from pnasnet.architecture.layers import FactorizedReduction, Layer, Pool
from pnasnet.architecture.plan import Plan
from pnasnet.errors import OutOfMemoryError
from pnasnet.images import load
from pnasnet.support.text import counted

from common import machine

MODELS = ("pnasnet_large", "nasnet_large", "pnasnet_mobile")
PHOTOS = Path(__file__).parents[1] / "tests/photos"

# Limits of the device.


@dataclass(frozen=True)
class CardLimits:
    """Measured limits of a device in one precision: FLOP/s of a matrix product, bytes/s read and written by a copy."""

    flops: float
    bandwidth: float

    def floor(self, plan: Plan, batch: int, size: int) -> tuple[float, float, float]:
        """Return the seconds of a batch by arithmetic, by bandwidth, and by the larger of both layer by layer.

        `size` is the bytes of a number.
        """
        times = []
        for layer in _counted(plan):
            kernel = sum(prod(shape) for shape in layer.variables().values())
            # Its two convolutions read a quarter of the pixels each.
            read = prod(layer.input) // (2 if isinstance(layer, FactorizedReduction) else 1)
            moved = (batch * (read + prod(layer.output)) + kernel) * size
            times.append((2 * batch * layer.mult_adds / self.flops, moved / self.bandwidth))
        arithmetic, bandwidth = (sum(column) for column in zip(*times, strict=True))
        return arithmetic, bandwidth, sum(map(max, times))


def _counted(plan: Plan) -> Iterator[Layer]:
    """Yield the layers that count. A pool that several branches of a cell share counts once."""
    shared: set[tuple[int, int, Layer]] = set()
    for layer in (*plan.stem, *(x for cell in plan.cells for x in (*cell.entry[0], *cell.entry[1])), *plan.pool):
        if _has_work(layer):
            yield layer
    for index, cell in enumerate(plan.cells):
        branches = [branch for block in cell.blocks for branch in (block.left, block.right)]
        for branch in (*branches, *cell.concat):
            for layer in filter(_has_work, branch.layers):
                key = index, branch.source, layer
                if isinstance(layer, Pool) and key in shared:
                    continue
                shared.add(key)
                yield layer


def _has_work(layer: Layer) -> bool:
    return isinstance(layer, Pool) or layer.mult_adds > 0


def limits(dtype: torch.dtype, settings: Settings) -> CardLimits:
    """Measure a matrix product and a copy: the best of several rounds."""
    side, numbers = (8192, 2**29) if settings.on_gpu else (256, 2**20)
    left, right = (torch.randn(side, side, device=settings.device).to(dtype) for _ in range(2))
    source = torch.zeros(numbers, dtype=dtype, device=settings.device)
    target = torch.empty_like(source)
    product = min(_times(lambda: left @ right, settings))
    copied = min(_times(lambda: target.copy_(source), settings))
    return CardLimits(2 * side**3 / product, 2 * source.nbytes / copied)


# Measuring.


def _times(run: Run, settings: Settings) -> list[float]:
    """Return the seconds of a run in each round. A round repeats it without waiting in between."""
    for _ in range(2):
        run()
    settings.wait()
    start = time.perf_counter()
    run()
    settings.wait()
    once = time.perf_counter() - start
    repeats = max(1, int(settings.seconds / max(once, 1e-6)))
    seconds = []
    for _ in range(settings.rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        settings.wait()
        seconds.append((time.perf_counter() - start) / repeats)
    return seconds


def fidelity(features: Floats, reference: Floats) -> tuple[float, float]:
    """Return the least cosine, and the largest difference as a share of the largest value of the reference."""
    a, b = (x.astype(np.float64).reshape(len(x), -1) for x in (features, reference))
    cosine = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return float(cosine.min()), float(np.abs(a - b).max() / np.abs(b).max())


@dataclass(frozen=True)
class Measured:
    """Figures of one way and batch."""

    seconds: float
    memory: int | None
    cosine: float
    difference: float


def measure(way: Way, images: Floats, settings: Settings) -> Measured:
    """Prepare and time one way on one batch, and free its memory."""
    _forget(settings)
    with torch.no_grad():
        run = way.prepare(images)
        distinct = min(len(images), 4)
        run()  # compiles
        features = to_numpy(run())[:distinct]
        settings.wait()
        _forget(settings, compiled=False)
        seconds = statistics.median(_times(run, settings)) / way.batches
    memory = torch.cuda.max_memory_reserved(settings.device) if settings.on_gpu else None
    return Measured(seconds, memory, *fidelity(features, way.reference()[:distinct]))


def _forget(settings: Settings, *, compiled: bool = True) -> None:
    """Free unused memory, also of compiled networks if `compiled`, and reset the peak."""
    if compiled:
        torch.compiler.reset()
    gc.collect()
    if settings.on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(settings.device)


HEADER = (
    f"{'way':42} {'images/s':>10} {'ms/batch':>9} {'GB':>6} {'arithmetic':>10} {'bandwidth':>9} {'floor':>7} "
    f"{'cosine':>9} {'difference':>10}"
)


def print_batch(
    given: Subject,
    ways: Sequence[Way],
    card: dict[torch.dtype, CardLimits],
    batch: int,
    settings: Settings,
    images_per_core: float,
) -> int:
    """Measure and print all ways on one batch. Return how many failed."""
    images = np.resize(given.photos, (batch, *given.photos.shape[1:]))  # repeats the photos
    print(f"\n{given.model}, batch {batch}; fidelity to {given.source} (timm: to its own)\n{HEADER}")
    rates: dict[str, float] = {}
    failed = 0
    for way in ways:
        try:
            found = measure(way, images, settings)
        except UnavailableError as error:
            print(f"{way.name:42} {error}", flush=True)
        except (torch.OutOfMemoryError, OutOfMemoryError):
            print(f"{way.name:42} out of memory", flush=True)
        except Exception as error:  # one way that a version of torch cannot run must not hide the others
            failed += 1
            print(f"{way.name:42} failed: {type(error).__name__}: {first_line(error)}", flush=True)
        else:
            rates[way.name] = batch / found.seconds
            print(_row(way, found, given.plan, batch, card[way.dtype]), flush=True)
    if given.model != TINY:
        _print_ratios(rates)
    _print_cores(given, rates, images_per_core)
    return failed


def _row(way: Way, found: Measured, plan: Plan, batch: int, card: CardLimits) -> str:
    shares = [f"{seconds / found.seconds:.1%}" for seconds in card.floor(plan, batch, way.dtype.itemsize)]
    memory = "-" if found.memory is None else f"{found.memory / 1e9:.2f}"
    return (
        f"{way.name:42} {batch / found.seconds:10.1f} {1e3 * found.seconds:9.2f} {memory:>6} {shares[0]:>10} "
        f"{shares[1]:>9} {shares[2]:>7} {found.cosine:9.6f} {found.difference:10.5f}"
    )


def _print_ratios(rates: dict[str, float]) -> None:
    for precision in ("bfloat16", "float16"):
        names = [name for name in rates if name.startswith("ours") and name.endswith(f" {precision}")]
        if names and COMPILED_TIMM in rates:
            best = max(names, key=lambda name: rates[name])
            print(f"{best} / {COMPILED_TIMM}: {rates[best] / rates[COMPILED_TIMM]:.2f}")


def decoding_rate(size: tuple[int, int], settings: Settings) -> float:
    """Return the number of the tests' photos that one core decodes, resizes and stacks per second."""
    contents = [path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))]

    def decode() -> Floats:
        return np.stack([load(content, size).image for content in contents])

    return len(contents) / statistics.median(_times(decode, settings))


def _print_cores(given: Subject, rates: Mapping[str, float], images_per_core: float) -> None:
    fastest = max((rate for name, rate in rates.items() if name.startswith(ENGINE_AHEAD)), default=None)
    if fastest is not None:
        height, width = given.plan.spec.image_size
        print(
            f"decoding to {height}x{width}: {images_per_core:.0f} images/s a core; "
            f"{fastest / images_per_core:.1f} cores keep up with {fastest:.1f} images/s"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Return 1 if a way failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--batch", type=int, nargs="+")
    parser.add_argument("--ways", nargs="+", help="words; measure the ways whose names contain one of them")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--mode", default="reduce-overhead", help="mode of torch.compile")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dry-run", action="store_true", help="a tiny network, batches of 1 and 2, short rounds")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("torch has no CUDA device; check driver and torch, or pass --device cpu --dry-run")
    device = torch.device(options.device)
    settings = Settings(device, options.dry_run, options.mode, options.rounds)
    if options.dry_run:
        settings = replace(settings, rounds=1, seconds=0.0)
    if settings.on_gpu:
        settings = replace(settings, device=torch.device("cuda", device.index or 0))
        torch.cuda.set_device(settings.device)
        torch.backends.cudnn.benchmark = True  # the engine turns it off for its own runs
    place = torch.cuda.get_device_name(settings.device) if settings.on_gpu else "CPU"
    print(f"{place}; torch {torch.__version__}; {machine()}")
    if options.dry_run:
        print("dry run: the figures mean nothing, and timm's network is another one, a ResNet")
    elif not settings.on_gpu:
        print("on a CPU the limits are of small operands: the shares mean nothing")
    card = {dtype: limits(dtype, settings) for dtype in (torch.float32, torch.bfloat16, torch.float16)}
    for dtype, found in card.items():
        print(f"limits in {dtype}: {found.flops / 1e12:.4g} TFLOP/s, {found.bandwidth / 1e9:.0f} GB/s")
    failed = 0
    for model in (TINY,) if options.dry_run else options.model:
        given = subject(model, settings)
        ways = [*ours(given, settings), *Timm(given, settings).ways()]
        ways = [way for way in ways if not options.ways or any(word in way.name for word in options.ways)]
        images_per_core = decoding_rate(given.plan.spec.image_size, settings)
        for batch in options.batch or ((1, 2) if options.dry_run else (1, 4, 16, 64, 256)):
            failed += print_batch(given, ways, card, batch, settings, images_per_core)
    if failed:
        print(f"\n{counted(failed, 'measurement')} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

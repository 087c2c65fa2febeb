"""Images for the tests of fine-tuning: noisy squares of a colour for each class."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from pnasnet.datasets import LabelledImages

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}


def png(colour: tuple[int, int, int], seed: int = 0) -> bytes:
    """Return an image of about one colour."""
    noise = np.random.default_rng(seed).integers(-30, 30, (40, 40, 3))
    buffer = io.BytesIO()
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def coloured(count: int, *, broken: tuple[int, ...] = ()) -> LabelledImages:
    """Return `count` images of each class, in memory; those at the indices `broken` are cut short."""
    labels = np.repeat(np.arange(len(COLOURS)), count)
    names = [f"{name}/{index}.png" for name in COLOURS for index in range(count)]
    files = [png(colour, seed) for colour in COLOURS.values() for seed in range(count)]
    files = [data[:60] if index in broken else data for index, data in enumerate(files)]
    return LabelledImages(names, labels, tuple(COLOURS), files.__getitem__)


def folder_of(path: Path, count: int, *, broken: tuple[str, ...] = ()) -> Path:
    """Write the same images as a folder for each class, those named in `broken` cut short."""
    data = coloured(count)
    for index, name in enumerate(data.names):
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        content = data.read(index)
        assert isinstance(content, bytes)
        file.write_bytes(content[:60] if name in broken else content)
    return path

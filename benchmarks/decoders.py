"""Differences of features if another program decodes or resizes the images: the table in docs/export.md.

Command: python benchmarks/decoders.py --model pnasnet_small
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image

from pnasnet import Module
from pnasnet.images import decode, transform
from pnasnet.module.export import Export

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]

PHOTOS = sorted((Path(__file__).parents[1] / "tests/photos").glob("*.jpg"))


def half_pixel(pixels: Pixels, size: Size) -> Floats:
    """Resize bilinearly with half-pixel centres and without antialiasing, as OpenCV's INTER_LINEAR does."""
    (top, bottom, down), (left, right, across) = map(_neighbours, pixels.shape[:2], size)
    values = pixels.astype(np.float32) / np.float32(255)
    upper, lower = (
        values[rows][:, left] * (1 - across)[:, None] + values[rows][:, right] * across[:, None]
        for rows in (top, bottom)
    )
    return np.asarray(upper * (1 - down)[:, None, None] + lower * down[:, None, None], np.float32)


def _neighbours(length: int, wanted: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    position = np.clip((np.arange(wanted) + 0.5) * length / wanted - 0.5, 0, length - 1)
    lower = np.floor(position).astype(np.intp)
    return lower, np.minimum(lower + 1, length - 1), (position - lower).astype(np.float32)


def antialiased(pixels: Pixels, size: Size) -> Floats:
    """Resize as Pillow's bilinear filter does."""
    resized = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32) / np.float32(255)


def in_the_model(module: Module, images: list[Pixels]) -> Floats:
    """Return the features of an exported model that includes the preprocessing."""
    with TemporaryDirectory() as folder:
        path = Export(Path(folder, "model.onnx"), "onnx", preprocess=True).write(module).path
        session = onnxruntime.InferenceSession(path)
        return np.concatenate([session.run(None, {"images": image[np.newaxis]})[0] for image in images])


def main() -> None:
    """Print a line for each way of decoding or resizing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pnasnet_small")
    module = Module(parser.parse_args().model)
    exact, accurate = ([decode(photo, fast_dct=fast) for photo in PHOTOS] for fast in (True, False))

    def features(images: list[Pixels], resize: Callable[[Pixels, Size], Floats]) -> Floats:
        batch = np.stack([resize(image, module.image_size) for image in images])
        return module.run(batch, ("global_pool",))["global_pool"]

    def ours(pixels: Pixels, size: Size) -> Floats:
        return transform(pixels, size, module.preset)

    expected = features(exact, ours)
    for way, found in (
        ("resize in the model", in_the_model(module, exact)),
        ("accurate DCT", features(accurate, ours)),
        ("half-pixel centres", features(exact, half_pixel)),
        ("antialiasing", features(exact, antialiased)),
        ("BGR", features([np.ascontiguousarray(image[:, :, ::-1]) for image in exact], ours)),
    ):
        norms = np.linalg.norm(expected, axis=1)
        differences = np.linalg.norm(found - expected, axis=1) / norms
        cosines = (found * expected).sum(1) / norms / np.linalg.norm(found, axis=1)
        print(f"{way:<20} relative difference {differences.max():.6f}, cosine {cosines.min():.4f}")
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    others = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)]
    print(f"{'another photo':<20} cosine {others.max():.4f}")


if __name__ == "__main__":
    main()

"""Similarity of images to their changed copies and to other images, as a guide to thresholds.

Command:  python benchmarks/copies.py PHOTOS... [--data DATA] [--model pnasnet_tiny]
Method:   each photo is changed in several ways, and the smallest cosine between a photo and its copy is printed for
          each way, then the largest cosine between different photos. For the first 3,000 images of DATA, which is
          anything that `pnasnet evaluate` accepts, the fraction with another image above each threshold is printed.
Result:   for pnasnet_tiny see docs/similar.md.
"""

import argparse
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from pnasnet import Module
from pnasnet.datasets import open_dataset
from pnasnet.extract import ExtractOptions
from pnasnet.extract.embed import extract_labelled

COUNT, THRESHOLDS = 3000, (0.95, 0.96, 0.97, 0.98, 0.99)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return an image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def crop(image: Image.Image) -> Image.Image:
    """Return an image without a margin of 5 % of its shorter side."""
    margin = round(0.05 * min(image.size))
    return image.crop((margin, margin, image.width - margin, image.height - margin))


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "saved as PNG": encode,
    "JPEG quality 50": lambda image: encode(image, "JPEG", quality=50),
    "JPEG quality 20": lambda image: encode(image, "JPEG", quality=20),
    "20 % brighter": lambda image: encode(ImageEnhance.Brightness(image).enhance(1.2)),
    "half the size": lambda image: encode(image.resize((image.width // 2, image.height // 2))),
    "mirrored": lambda image: encode(ImageOps.mirror(image)),
    "cropped by 5 % of the shorter side all around": lambda image: encode(crop(image)),
}


def unit(vectors: Any) -> NDArray[np.float64]:
    """Return vectors [N, F], scaled to length 1."""
    values: NDArray[np.float64] = np.asarray(vectors, np.float64)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values


def nearest_other(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest cosine of each vector with another one, [N]."""
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -1)
    largest: NDArray[np.float64] = similar.max(1)
    return largest


def main() -> None:
    """Print the similarities."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--data")
    parser.add_argument("--model", default="pnasnet_tiny")
    options = parser.parse_args()
    module = Module(options.model)
    originals = unit(module.embed(options.photos))
    for name, change in CHANGES.items():
        copies = unit(module.embed([change(Image.open(photo).convert("RGB")) for photo in options.photos]))
        print(f"| {name} | {(copies * originals).sum(1).min():.3f} |")
    print(f"| another photo | {nearest_other(originals).max():.3f} at most |")
    if options.data:
        data = open_dataset(options.data)
        some = data.take(range(min(COUNT, len(data))))
        batches = extract_labelled(module, some, "global_pool", ExtractOptions())
        largest = nearest_other(unit(np.concatenate([batch.vectors for batch in batches])))
        for threshold in THRESHOLDS:
            print(f"{(largest >= threshold).mean():.2%} of {len(largest):,} have another at {threshold} or above")


if __name__ == "__main__":
    main()

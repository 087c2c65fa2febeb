"""Draw docs/neighbours.png: example photos, their most probable classes, and the nearest of the other example photos.

Command:  python docs/make_neighbours.py
Method:   the photos asked about are not picked by hand: of each kind with at least seven photos, the first by name.
"""

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pnasnet import Module

HERE = Path(__file__).parent
PHOTOS = HERE.parent / "examples" / "photos"
MODEL, LEAST, MIXED = "pnasnet_small", 7, "other"
PHOTO, TEXT, GAP, CLASSES, NEIGHBOURS = 120, 190, 10, 3, 5


def asked(photos: list[Path]) -> list[int]:
    """Return the place of the first photo of each kind that has enough of them."""
    kinds = [photo.parent.name for photo in photos]
    return [kinds.index(kind) for kind, count in Counter(kinds).items() if count >= LEAST and kind != MIXED]


def nearest(vectors: NDArray[np.float32], place: int) -> NDArray[np.int64]:
    """Return the places of the vectors [N, F] nearest to one of them by cosine, without itself."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit[place]
    likeness[place] = -np.inf
    return np.argsort(-likeness)[:NEIGHBOURS]


def main() -> None:
    """Embed, find and draw."""
    photos = sorted(PHOTOS.glob("*/*.jpg"))
    module = Module(MODEL)
    vectors, rows = module.embed(photos), asked(photos)
    answers = module.classify([photos[place] for place in rows], top=CLASSES)
    width = PHOTO + TEXT + NEIGHBOURS * PHOTO + (NEIGHBOURS + 3) * GAP
    canvas = Image.new("RGB", (width, len(rows) * (PHOTO + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for row, (place, classes) in enumerate(zip(rows, answers, strict=True)):
        top = GAP + row * (PHOTO + GAP)
        canvas.paste(square(photos[place]), (GAP, top))
        for line, (name, probability) in enumerate(classes):
            left, above = PHOTO + 2 * GAP, top + 20 + 28 * line
            draw.rectangle((left, above, left + int(TEXT * probability), above + 20), fill="#cfe3f7")
            draw.text((left + 4, above + 1), f"{name} {probability:.0%}", "black", font)
        for column, found in enumerate(nearest(vectors, place)):
            left = PHOTO + TEXT + (3 + column) * GAP + column * PHOTO
            canvas.paste(square(photos[found]), (left, top))
    canvas.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(HERE / "neighbours.png", optimize=True)


def square(photo: Path) -> Image.Image:
    """Return the middle of a photo as a small square."""
    image = Image.open(photo).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((PHOTO, PHOTO), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()

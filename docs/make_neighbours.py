"""Draw docs/neighbours.png: example photos, their most probable classes, and the nearest of the other example photos.

Command:  python docs/make_neighbours.py
Method:   the photos asked about are not picked by hand. They are the first by name of each kind that has one of the
          model's classes (the credits name it), and the first of the two largest kinds that have none.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pnasnet import Module

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
MODEL, MIXED, UNKNOWN = "pnasnet_small", "other", 2
PHOTO, TEXT, GAP, CLASSES, NEIGHBOURS = 108, 190, 10, 3, 5


def asked(rows: list[dict[str, str]]) -> list[int]:
    """Return the places of the photos to ask about, among the rows of the credits."""
    kinds = [row["photo"].partition("/")[0] for row in rows]
    known = {kind: place for place, kind in reversed([*enumerate(kinds)]) if rows[place]["class"] and kind != MIXED}
    others = sorted({*kinds} - {*known, MIXED}, key=lambda kind: (-kinds.count(kind), kind))[:UNKNOWN]
    return [*sorted(known.values()), *map(kinds.index, others)]


def nearest(vectors: NDArray[np.float32], place: int) -> NDArray[np.int64]:
    """Return the places of the vectors [N, F] nearest to one of them by cosine, without itself."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit[place]
    likeness[place] = -np.inf
    return np.argsort(-likeness)[:NEIGHBOURS]


def main() -> None:
    """Embed, find and draw."""
    with (EXAMPLES / "CREDITS.csv").open(encoding="utf-8") as file:
        credited = list(csv.DictReader(file))
    photos = [EXAMPLES / "photos" / row["photo"] for row in credited]
    module = Module(MODEL)
    vectors, rows = module.embed(photos), asked(credited)
    answers = module.classify([photos[place] for place in rows], top=CLASSES)
    width = PHOTO + TEXT + NEIGHBOURS * PHOTO + (NEIGHBOURS + 3) * GAP
    canvas = Image.new("RGB", (width, len(rows) * (PHOTO + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for row, (place, classes) in enumerate(zip(rows, answers, strict=True)):
        top = GAP + row * (PHOTO + GAP)
        canvas.paste(square(photos[place]), (GAP, top))
        for line, (name, probability) in enumerate(classes):
            left, above = PHOTO + 2 * GAP, top + 14 + 28 * line
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

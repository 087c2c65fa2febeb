"""Draw docs/neighbours.png: each example photo, its most probable classes, and its nearest Tiny ImageNet images.

Command:  python docs/make_neighbours.py VALIDATION.parquet
"""

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from pnasnet import Module

HERE = Path(__file__).parent
PHOTO, THUMB, GAP, NEIGHBOURS, SEARCHED = 180, 84, 12, 4, 10_000


def main() -> None:
    """Embed, find and draw."""
    column = pq.read_table(sys.argv[1], columns=["image"]).column("image").combine_chunks()
    pictures = [row["bytes"] for row in column[:SEARCHED].to_pylist()]
    photos = sorted((HERE.parent / "examples" / "photos").glob("*.jpg"))
    module = Module("pnasnet_small")
    known, wanted = (_unit(module.embed(sources, batch_size=100)) for sources in (pictures, photos))
    nearest = np.argsort(-wanted @ known.T, axis=1)[:, :NEIGHBOURS]
    canvas = Image.new("RGB", (4 * PHOTO + 5 * GAP, PHOTO + 2 * THUMB + 60 + 4 * GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for index, (photo, classes) in enumerate(zip(photos, module.classify(photos, top=3), strict=True)):
        left = GAP + index * (PHOTO + GAP)
        canvas.paste(_square(Image.open(photo), PHOTO), (left, GAP))
        for line, (name, probability) in enumerate(classes):
            top = PHOTO + 2 * GAP + 18 * line
            draw.rectangle((left, top, left + int(PHOTO * probability), top + 15), fill="#cfe3f7")
            draw.text((left + 4, top), f"{name} {probability:.0%}", "black", font)
        for place, found in enumerate(nearest[index]):
            corner = left + place % 2 * (THUMB + GAP), PHOTO + 60 + 2 * GAP + place // 2 * (THUMB + GAP // 2)
            canvas.paste(_square(Image.open(io.BytesIO(pictures[found])), THUMB), corner)
    canvas.save(HERE / "neighbours.png", optimize=True)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _square(picture: Image.Image, side: int) -> Image.Image:
    return picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)


if __name__ == "__main__":
    main()

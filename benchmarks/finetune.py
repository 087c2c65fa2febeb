"""Seconds of `pnasnet finetune`, of the whole command and of its stages.

Command:  python benchmarks/finetune.py [--model pnasnet_tiny] [--pictures 2000] [--classes 5] [--data SOURCE]
Method:   class folders with 2,000 images of 5 classes are created, unless --data names others. The command runs in a
          process of its own, with an empty cache of compiled models.
Result:   see docs/benchmarks.md.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from common import machine


def make_pictures(folder: Path, count: int, classes: int) -> None:
    """Write `count` JPEG images of 500x375 pixels: crops of the example photos, each class from its own region."""
    photos = sorted((Path(__file__).parents[1] / "tests" / "photos").glob("*.jpg"))
    rng = np.random.default_rng(0)
    for index in range(count):
        label = index % classes
        target = folder / f"class_{label}"
        target.mkdir(parents=True, exist_ok=True)
        with Image.open(photos[label % len(photos)]) as photo:
            width, height = photo.size
            # Classes beyond the number of photos use the photos' right halves.
            left = (width // 2) * (label // len(photos)) + int(rng.integers(width // 4))
            top = int(rng.integers(height // 4))
            box = (left, top, left + width // 4, top + height // 2)
            photo.convert("RGB").crop(box).resize((500, 375)).save(target / f"{index:05}.jpg", quality=90)


def main() -> None:
    """Create the images, run the command, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pnasnet_tiny")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--data")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        data, output = options.data or f"{folder}/pictures", Path(folder) / "model"
        if not options.data:
            make_pictures(Path(data), options.pictures, options.classes)
        command = [sys.executable, "-m", "pnasnet", "finetune", data, "-o", str(output), "-m", options.model]
        environment = {**os.environ, "PNASNET_CACHE": f"{folder}/cache"}
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True)
        seconds = time.perf_counter() - start
        stages = json.loads((output / "metrics.json").read_text())["seconds"]
    print(f"{options.model}, {machine()}")
    print(f"whole command {seconds:.1f} s; " + ", ".join(f"{name} {value:.2f} s" for name, value in stages.items()))


if __name__ == "__main__":
    main()

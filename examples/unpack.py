"""Write 400 small photos into a folder for each class: `python examples/unpack.py photos/`.

They are the first 40 of each class of CIFAR-10's test images, 32x32 pixels, which the tests use, too.
"""

import sys
from collections.abc import Collection
from pathlib import Path

import pyarrow.parquet as pq

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TABLE = Path(__file__).parents[1] / "tests/golden/cifar10_400.parquet"


def write(target: Path, classes: Collection[str] = CLASSES, most: int = 40) -> None:
    """Write up to `most` photos of each class as `CLASS/NUMBER.jpg` below `target`."""
    count = dict.fromkeys(classes, 0)
    for row in pq.read_table(TABLE).to_pylist():
        name = CLASSES[row["label"]]
        if count.get(name, most) < most:
            count[name] += 1
            path = target / name / f"{count[name]:02}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(row["image"]["bytes"])
    print(f"{target}: {sum(count.values())} photos in {len(count)} folders")


if __name__ == "__main__":
    write(Path(sys.argv[1]))

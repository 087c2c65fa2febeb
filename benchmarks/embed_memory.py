"""Peak memory of `pnasnet embed` for few and for many images.

Command:  python benchmarks/embed_memory.py [--model pnasnet_tiny] [--counts 2000 20000]
Method:   the command runs in a process of its own, on a folder of JPEG photos of 0.3 megapixels, which are hard links
          to 40 files. The peak is that of the process (VmHWM), read when it ends.
Result:   see docs/benchmarks.md.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from common import enlarged_photos, machine

PROGRAM = """
import sys
from pathlib import Path
from pnasnet.cli import main
try:
    main(sys.argv[1:])
finally:
    print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0], file=sys.stderr)
"""


def linked(photos: list[Path], folder: Path, count: int) -> Path:
    """Create a folder with `count` hard links to the photos, and return it."""
    folder.mkdir()
    for number in range(count):
        (folder / f"IMG_{number:08}.jpg").hardlink_to(photos[number % len(photos)])
    return folder


def peak_megabytes(photos: Path, output: Path, model: str) -> float:
    """Return the peak memory of a run in MB."""
    command = [sys.executable, "-c", PROGRAM, "embed", str(photos), "--model", model, "-o", str(output)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stderr.split()[-1]) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pnasnet_tiny")
    parser.add_argument("--counts", type=int, nargs="+", default=[2000, 20000])
    options = parser.parse_args()
    examples = Path(__file__).parents[1] / "tests" / "photos"
    print(f"{options.model}, {machine()}")
    with TemporaryDirectory() as name:
        folder = Path(name)
        photos = enlarged_photos(examples, folder, 40, 0.3)
        for count in options.counts:
            named = linked(photos, folder / f"{count}", count)
            peak = peak_megabytes(named, folder / f"{count}.out", options.model)
            print(f"{count:8,} images: {peak:7.1f} MB")


if __name__ == "__main__":
    main()

"""Peak memory of `pnasnet embed` after few and after many pictures.

Command:  python benchmarks/embed_memory.py [--model pnasnet_tiny] [--counts 2000 20000]
Method:   the command as a process of its own, on JPEG photos of 0.3 megapixels that are links to a few files; the peak
          is that of the process (VmHWM), read as it ends.
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


def peak_megabytes(photos: list[Path], folder: Path, model: str) -> float:
    """Return the peak memory of a run."""
    listed = folder / "photos.txt"
    listed.write_text("".join(f"{photo}\n" for photo in photos))
    command = [sys.executable, "-c", PROGRAM, "embed", "--files-from", str(listed), "--model", model]
    done = subprocess.run(
        [*command, "-o", str(folder / f"out{len(photos)}")], check=True, capture_output=True, text=True
    )
    return int(done.stderr.split()[-1]) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pnasnet_tiny")
    parser.add_argument("--counts", type=int, nargs="+", default=[2000, 20000])
    options = parser.parse_args()
    examples = Path(__file__).parent.parent / "examples" / "photos"
    print(f"{options.model}, {machine()}")
    with TemporaryDirectory() as name:
        folder = Path(name)
        photos = enlarged_photos(examples, folder, 40, 0.3)
        for count in options.counts:
            peak = peak_megabytes((photos * (count // len(photos) + 1))[:count], folder, options.model)
            print(f"{count:8,} pictures: {peak:7.1f} MB")


if __name__ == "__main__":
    main()

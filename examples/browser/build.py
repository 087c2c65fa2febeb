"""Build the page that classifies photos in a browser, as a folder for any static web server.

Command:  python examples/browser/build.py OUT [--model pnasnet_small]
Needs:    npm, which downloads onnxruntime-web (33 MB) from its registry.

`OUT` gets the page, the model with its preprocessing as ONNX, the class names, and ONNX Runtime for WebAssembly. The
model must have a classifier and the preset `hub` or `slim`.
"""

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from pnasnet import Module
from pnasnet.errors import PnasnetError
from pnasnet.module.export import Export

RUNTIME = "onnxruntime-web@1.30.0"
INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""SHA-512 of the package, in base64, as npm publishes it."""
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
PAGE_FILES = ("index.html", "demo.css", "demo.js")
_SECONDS = 300


def write_model(model: str, folder: Path) -> None:
    """Write `model.onnx`, which accepts decoded photos and returns probabilities, and `labels.json`."""
    module = Module(model)
    Export(folder / "model.onnx", "onnx", ("Predictions",), preprocess=True).write(module)
    count = module.model.spec.num_classes or 0
    labels = module.labels or tuple(f"class {number}" for number in range(count))
    (folder / "labels.json").write_text(json.dumps(labels, ensure_ascii=False), "utf-8")


def write_runtime(folder: Path) -> None:
    """Download ONNX Runtime for browsers with npm, check it, and write the two files that the page loads."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is not installed: install Node.js (https://nodejs.org), or Debian's package npm")
    with TemporaryDirectory() as place:
        command = [npm, "pack", RUNTIME, "--silent", "--pack-destination", place]
        try:
            subprocess.run(command, check=True, cwd=place, stdout=subprocess.DEVNULL, timeout=_SECONDS)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise SystemExit(f"{' '.join(command)} failed ({error}): check the network, and run it again") from error
        (archive,) = Path(place).glob("*.tgz")
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != INTEGRITY:
            raise SystemExit(f"{RUNTIME} has SHA-512 {digest} instead of {INTEGRITY}: the download is not used")
        with tarfile.open(archive) as package:
            for name in RUNTIME_FILES:
                content = package.extractfile(f"package/dist/{name}")
                assert content is not None
                (folder / name).write_bytes(content.read())


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder; its files of the same names are replaced")
    parser.add_argument("--model", default="pnasnet_small", help="a name, or a file or folder with weights")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        write_model(options.model, options.out)
    except PnasnetError as error:
        raise SystemExit(f"{error}") from error
    write_runtime(options.out)
    for name in PAGE_FILES:
        shutil.copyfile(Path(__file__).with_name(name), options.out / name)
    print(f"{options.out}: serve it with: {sys.executable} -m http.server -d {options.out} --bind localhost")


if __name__ == "__main__":
    main()

"""Run the commands of the user's pages, put into the pages what they print, and make the pages' pictures.

Command:  python docs/make_screenshots.py CIFAR10_TEST.parquet TINY_IMAGENET_VALIDATION.parquet FOLDER
Needs:    the extras train and explore, playwright and Chromium.

`FOLDER` gets the example photos, those of five classes as `photos/CLASS/` and `new/CLASS/`, the first 2,000 validation
images of Tiny ImageNet as `pictures/CLASS/NUMBER.jpg`, and what the commands write; docs/similar.png, map.png,
atlas.png and report.png are replaced, and in `PAGES` what stands under a command that was run.
"""

import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from PIL import Image

from pnasnet import Module

if TYPE_CHECKING:
    from playwright.sync_api import Page

DOCS = Path(__file__).absolute().parent
PHOTOS, QUERY = Path("examples", "photos"), "windmills/altenbeichlingen.jpg"
ALL = 2000
PORT = 5055
PAGES = ("commands.md", "similar.md", "transfer-learning.md")

printed: dict[str, str] = {}
"""What commands have printed."""


def main() -> None:
    """Write the folders, run the commands, and take the pictures."""
    folder = Path(sys.argv[3])
    write_pictures(Path(sys.argv[2]), folder)
    shutil.copytree(DOCS.parent / PHOTOS, folder / PHOTOS, dirs_exist_ok=True)
    run(folder, "embed", PHOTOS, "-o", "features.parquet")
    copy_coffee(folder)
    run(folder, "embed", PHOTOS, "copies", "-o", "all.parquet")
    run(folder, "embed", "pictures", "-o", "many.parquet")
    (folder / "cifar10").mkdir(exist_ok=True)
    shutil.copyfile(sys.argv[1], folder / "cifar10/test.parquet")
    run(folder, "evaluate", "pnasnet_tiny", "cifar10/test.parquet", "--threads", 1, "--quiet")
    run(folder, "similar", PHOTOS / QUERY, "features.parquet", "--html", "similar.html")
    run(folder, "duplicates", "all.parquet")
    run(folder, "explore", "features.parquet", "--html", "map.html")
    run(folder, "explore", "many.parquet", "--html", "many.html")
    (sort,) = re.findall(r"```sh\n(.*?)```", (DOCS / "transfer-learning.md").read_text("utf-8"), re.DOTALL)
    subprocess.run(["bash", "-e", "-c", sort], cwd=folder, check=True)
    run(folder, "finetune", "photos/", "-o", "model/")
    some = ("new/mammals/red_panda.jpg", "new/windmills/rhodes.jpg")
    run(folder, "classify", *some, "--model", "model/", "--top", 2, "--quiet")
    run(folder, "evaluate", "model/", "new/", "--per-class", "--quiet")
    for name in PAGES:
        page = DOCS / name
        page.write_text(with_outputs(page.read_text("utf-8")), "utf-8")
    shoot(folder / "similar.html", "similar.png", 900, 1150)
    shoot(folder / "many.html", "map.png", 1000, 760)
    shoot(folder / "model/report.html", "report.png", 900, 2400)
    count = len(list((folder / PHOTOS).glob("*/*")))
    with explorer(folder) as address:
        shoot(address, "atlas.png", 1100, 760, wait_for=f"{count} / ")


def write_pictures(table: Path, folder: Path) -> None:
    """Write images of Tiny ImageNet as files."""
    names, rows = Module("pnasnet_small").labels, pq.read_table(table).slice(0, ALL).to_pylist()
    assert names
    for number, row in enumerate(rows):
        path = folder / "pictures" / re.sub(r"\W", "_", names[row["label"]]) / f"{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row["image"]["bytes"])


def copy_coffee(folder: Path) -> None:
    """Write two copies of a photo, as docs/tutorials/similar-photos.md does."""
    (folder / "copies").mkdir(exist_ok=True)
    with Image.open(folder / PHOTOS / "kitchen/coffee.jpg") as photo:
        photo.save(folder / "copies/worse.jpg", quality=40)
        photo.resize((photo.width * 3 // 4, photo.height * 3 // 4)).save(folder / "copies/smaller.jpg")


def run(folder: Path, *arguments: object) -> None:
    """Run a command in the folder, note what it prints, and print it after a line that says which it was."""
    command = [sys.executable, "-m", "pnasnet", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    printed[shlex.join(command[2:])] = done.stdout
    print(f"\n$ {shlex.join(command[2:])}\n{done.stdout}", end="", flush=True)


def with_outputs(page: str) -> str:
    """Return a page in which each command that was run has what it printed, and nothing else, under it."""

    def replaced(block: re.Match[str]) -> str:
        before, command = block["before"], block["command"]
        return f"```\n{before}$ {command}\n{printed[command]}```" if command in printed else block[0]

    return re.sub(r"```\n(?P<before>(\$ pip .*\n)?)\$ (?P<command>pnasnet .*)\n([^`]*)```", replaced, page)


@contextmanager
def explorer(folder: Path) -> Iterator[str]:
    """Run embedding-atlas on the photos until the block ends."""
    command = [sys.executable, "-m", "pnasnet", "explore", "features.parquet", "--port", str(PORT)]
    with subprocess.Popen(command, cwd=folder) as process:
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://localhost:{PORT}/data/metadata.json", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.2)
            yield f"http://localhost:{PORT}/"
        finally:
            process.terminate()


def shoot(address: Path | str, name: str, width: int, height: int, *, wait_for: str = "") -> None:
    """Replace a picture of the docs by one of a page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page: Page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        page.goto(address if isinstance(address, str) else address.absolute().as_uri())
        if wait_for:
            page.get_by_text(wait_for).first.wait_for(timeout=60_000)
        page.wait_for_timeout(3000)  # charts and thumbnails come a little later
        page.screenshot(path=DOCS / name)
        browser.close()
    with Image.open(DOCS / name) as picture:
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(DOCS / name, optimize=True)


if __name__ == "__main__":
    main()

"""The costs of `pnasnet embed` per file, part and unit, which do not depend on the network.

Command:  python benchmarks/embed_limits.py [--files 20000] [--parts 2000] [--units 400] [--ray]
Needs:    the ray extra for --ray.
Method:   a folder of empty files is listed; a folder of parts of one row each is read, as when a run is resumed; and
          units of one small image each are extracted with the fake engine.
Result:   see docs/benchmarks.md.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from pnasnet.engines import EngineOptions
from pnasnet.extract import Batch, ExtractOptions, ModelChoice, Row, Sources, extract_to, list_units
from pnasnet.extract.columns import ColumnBuilder
from pnasnet.extract.folder import FeatureFolder
from pnasnet.extract.inputs import Inputs
from pnasnet.extract.part import Part
from pnasnet.extract.run import Fill
from pnasnet.extract.schema import FeatureSchema
from pnasnet.pictures import Files

from common import machine

OPTIONS = ExtractOptions(decoders=1)
BUILD = ColumnBuilder((ModelChoice("pnasnet_tiny", engine=EngineOptions("fake")),), ("global_pool",), OPTIONS)


def seconds(work: Callable[[], object]) -> float:
    """Return the duration of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def listing(folder: Path, count: int) -> float:
    """Return files per second."""
    for number in range(count):
        path = folder / f"{number // 1000:04d}" / f"{number:08d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    features = FeatureFolder(folder / "out")
    with features.opened({}):
        return count / seconds(lambda: Inputs(features).write(list_units([folder])))


def resuming(folder: Path, count: int) -> float:
    """Return parts per second."""
    features, vectors = FeatureFolder(folder), FeatureSchema.of(BUILD())
    table = vectors.table([Batch((Row("a.jpg", error="none"),), {})])
    for number in range(count):
        features.write_part(Part(number, 0, 1, True), table)
    return count / seconds(features.kept)


def extracting(folder: Path, count: int, fill: Fill | None) -> float:
    """Return units per second: the time for twice the units less the time for the units."""
    folder.mkdir()
    Image.new("RGB", (32, 32)).save(folder / "a.png")
    took = []
    for times in (0.1, 1, 2):  # the first is a warm-up
        units = [Files((str(folder / "a.png"),)) for _ in range(int(count * times))]
        sources = Sources(lambda units=units: units, ["units"])  # type: ignore[misc]
        took.append(seconds(partial(extract_to, folder / f"out{times}", sources, BUILD(), OPTIONS, fill=fill)))
    return count / (took[2] - took[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--parts", type=int, default=2000)
    parser.add_argument("--units", type=int, default=400)
    parser.add_argument("--ray", action="store_true", help="also run on a local Ray cluster")
    options = parser.parse_args()
    print(machine())
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "files").mkdir()
        print(f"listing:  {listing(folder / 'files', options.files):10,.0f} files/s")
        (folder / "parts").mkdir()
        print(f"resuming: {resuming(folder / 'parts', options.parts):10,.0f} parts/s")
        print(f"alone:    {extracting(folder / 'alone', options.units, None):10,.1f} units/s")
        if options.ray:
            import ray

            from pnasnet.extract.on_ray import RayOptions, fill_on_ray

            ray.init(num_cpus=2, log_to_driver=False)
            fill = partial(fill_on_ray, build=BUILD, ray_options=RayOptions("auto", workers=2))
            print(f"on Ray:   {extracting(folder / 'ray', options.units, fill):10,.1f} units/s")


if __name__ == "__main__":
    main()

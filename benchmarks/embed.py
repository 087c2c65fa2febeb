"""How close `embed` comes to the rate that the CPU seconds of decoding and of the engine allow on the same cores.

Command:  python benchmarks/embed.py [--model pnasnet_large] [--photos 60] [--threads 2]
Method:   each stage alone on the same photos gives its CPU seconds per photo; cores / (their sum) is the rate that
          nothing can beat; the whole command's loop is then timed in the same process.
Result:   see docs/benchmarks.md.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pnasnet import Module
from pnasnet.extract import ExtractOptions, Sources, columns_for, extract_to, list_units
from pnasnet.images import preprocess
from pnasnet.plan import resolve
from pnasnet.zoo import find

from common import enlarged_photos, machine, random_weights


def cpu_seconds(work: Callable[[], object], count: int) -> float:
    """Return the CPU seconds of all threads per photo."""
    start = time.process_time()
    work()
    return (time.process_time() - start) / count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pnasnet_large")
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--megapixels", type=float, default=4.0)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    examples = Path(__file__).parent.parent / "examples" / "photos"
    module = Module(options.model, weights=random_weights(resolve(find(options.model).spec)))
    with TemporaryDirectory() as folder:
        photos = enlarged_photos(examples, Path(folder), options.photos, options.megapixels)
        images = np.stack([preprocess(photo, module.image_size) for photo in photos[: options.batch]])
        module(images)
        batches = max(len(photos) // len(images), 1)
        engine = cpu_seconds(lambda: [module(images) for _ in range(batches)], batches * len(images))
        decoding = cpu_seconds(lambda: [preprocess(photo, module.image_size) for photo in photos], len(photos))
        allowed = cores / (engine + decoding)
        start = time.perf_counter()
        chosen = ExtractOptions(batch_size=options.batch)
        columns = columns_for([module], ["global_pool"], chosen)
        extract_to(Path(folder) / "features", Sources(lambda: list_units(photos), ("photos",)), columns, chosen)
        rate = len(photos) / (time.perf_counter() - start)
    print(f"{options.model}, {len(photos)} JPEG photos of {options.megapixels:g} megapixels, {machine()}")
    print(f"CPU seconds per photo: engine {engine:.4f}, decoding {decoding:.4f}; {cores} cores allow {allowed:.2f}/s")
    print(f"embed: {rate:.2f} photos/s, {rate / allowed:.1%} of that")


if __name__ == "__main__":
    main()

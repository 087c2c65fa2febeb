"""Rate of `embed`, relative to the limit set by decoding and the engine, and to a simple loop.

Command:  python benchmarks/embed.py [--model pnasnet_large] [--photos 48] [--ray] [--loop]
Needs:    the torch extra for --loop, the ray extra for --ray.
Method:   the CPU seconds per photo of decoding and of the engine are measured separately on the same photos; cores /
          (their sum) is the limit. Then `embed`, a simple loop (Pillow, batches of 8, eager torch) and `embed` on a
          local Ray cluster run in the same process, each on the photos and on twice as many. The rate is that of the
          second half, which excludes the time for opening the network or the cluster.
Result:   see docs/benchmarks.md.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from pnasnet import Module
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import find
from pnasnet.extract import ExtractOptions, ModelChoice, Sources, columns_for, extract_to, list_units
from pnasnet.extract.columns import ColumnBuilder
from pnasnet.images import preprocess
from pnasnet.pictures import listing

from common import enlarged_photos, machine, random_weights

Extraction = Callable[[list[Path]], object]
CORES = len(os.sched_getaffinity(0))


def cpu_seconds(work: Callable[[], object], count: int) -> float:
    """Return the CPU seconds of all threads per photo."""
    start = time.process_time()
    work()
    return (time.process_time() - start) / count


def rate(extraction: Extraction, photos: list[Path]) -> float:
    """Return photos per second: the time for twice the photos less the time for the photos, after a warm-up."""
    extraction(photos[:2])
    seconds = []
    for chosen in (photos, [*photos, *photos]):
        start = time.perf_counter()
        extraction(chosen)
        seconds.append(time.perf_counter() - start)
    return len(photos) / (seconds[1] - seconds[0])


def embed(photos: list[Path], module: Module, batch: int) -> None:
    """Do the same as `pnasnet embed`."""
    options = ExtractOptions(batch_size=batch)
    with TemporaryDirectory() as folder:
        sources = Sources(lambda: list_units(photos), ("photos",))
        extract_to(Path(folder) / "out", sources, columns_for([module], ["global_pool"], options), options)


def embed_on_ray(photos: list[Path], module: Module, weights: Path, batch: int) -> None:
    """Do the same as `pnasnet embed --ray --cpus N`: one worker with all cores."""
    from pnasnet.extract.on_ray import RayOptions, fill_on_ray

    options = ExtractOptions(batch_size=batch)
    build = ColumnBuilder((ModelChoice(str(weights)),), ("global_pool",), options).on_workers(CORES)
    fill = partial(fill_on_ray, build=build, ray_options=RayOptions("auto", workers=1, cpus=CORES))
    with TemporaryDirectory() as folder:
        sources = Sources(lambda: list_units(photos), ("photos",))
        columns = columns_for([module], ["global_pool"], options)
        extract_to(Path(folder) / "out", sources, columns, options, fill=fill)


class Loop:
    """A simple loop: open, resize, stack, run."""

    def __init__(self, module: Module, batch: int) -> None:
        """Create the torch network."""
        import torch

        from pnasnet.lowering.torch_network import Network

        self._size, self._batch = module.image_size, batch
        self._network = Network(module.model.plan).eval()
        self._network.load_variables(dict(module.model.arrays()))
        self._network.use_memory_format(torch.contiguous_format)

    def __call__(self, photos: list[Path]) -> None:
        """Extract."""
        import torch

        vectors, height_width = [], self._size
        for start in range(0, len(photos), self._batch):
            images = []
            for photo in photos[start : start + self._batch]:
                picture = Image.open(photo).convert("RGB").resize(height_width[::-1], Image.Resampling.BILINEAR)
                images.append(np.asarray(picture, np.float32) / 255)
            with torch.inference_mode():
                vectors.append(self._network(torch.from_numpy(np.stack(images)))["global_pool"].numpy())
        np.concatenate(vectors)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pnasnet_large")
    parser.add_argument("--photos", type=int, default=48)
    parser.add_argument("--megapixels", type=float, default=4.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--ray", action="store_true", help="also run on a local Ray cluster")
    parser.add_argument("--loop", action="store_true", help="also run the simple loop")
    options = parser.parse_args()
    listing.FILES_IN_UNIT = options.photos // 2  # so that a small run has several units
    examples = Path(__file__).parents[1] / "tests" / "photos"
    with TemporaryDirectory() as folder:
        photos = enlarged_photos(examples, Path(folder), options.photos, options.megapixels)
        module = Module(options.model, weights=random_weights(resolve(find(options.model).spec)))
        images = np.stack([preprocess(photo, module.image_size) for photo in photos[: options.batch]])
        module(images)
        batches = max(len(photos) // len(images), 1)
        engine = cpu_seconds(lambda: [module(images) for _ in range(batches)], batches * len(images))
        decoding = cpu_seconds(lambda: [preprocess(photo, module.image_size) for photo in photos], len(photos))
        limit = CORES / (engine + decoding)
        print(f"{options.model}, {len(photos)} JPEG photos of {options.megapixels:g} megapixels, {machine()}")
        print(f"CPU seconds per photo: engine {engine:.4f}, decoding {decoding:.4f}; limit {limit:.2f}/s")
        own = rate(lambda chosen: embed(chosen, module, options.batch), photos)
        print(f"embed:            {own:8.2f} photos/s, {own / limit:.1%} of the limit")
        if options.loop:
            loop = rate(Loop(module, options.batch), photos)
            print(f"a simple loop:    {loop:8.2f} photos/s; embed is {own / loop:.2f} times as fast")
        if options.ray:
            import ray

            weights = Path(folder) / "weights.safetensors"
            module.export(weights)
            ray.init(num_cpus=CORES, log_to_driver=False)
            on_ray = rate(lambda chosen: embed_on_ray(chosen, module, weights, options.batch), photos)
            print(f"embed on Ray:     {on_ray:8.2f} photos/s, {on_ray / own:.1%} of embed alone")


if __name__ == "__main__":
    main()

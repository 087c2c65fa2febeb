"""Speed of a search: seconds to propose cells (fit the predictors, expand and score a beam), and trials per hour.

Command:  python benchmarks/search.py [--children 8] [--only propose|train]
Needs:    the search extra.
Method:   proposing: in the paper's space, 256 cells of four blocks are expanded, duplicates are removed, and the other
          cells are scored by an ensemble of five predictors, fitted to 1,160 random cells with random accuracies. Peak
          memory is that of the process. Training: children of the configuration `two_cores` are trained on random
          images by one worker and by two, each a process with one thread that has already trained a child.
Result:   see docs/benchmarks.md.
"""

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pnasnet.search.child import ChildTrainer
from pnasnet.search.config_file import find_config
from pnasnet.search.evaluator import LocalEvaluator, Patience
from pnasnet.search.observed import Observed
from pnasnet.search.predictors import make_predictor
from pnasnet.search.space import SearchSpace

from common import machine

BEAM = 256


def propose(predictor_name: str) -> None:
    """Fit a predictor, expand a beam, remove duplicates and score the cells; print the seconds."""
    space, rng = SearchSpace(), np.random.default_rng(0)
    levels = [space.one_block(), *(space.sample(BEAM, rng)[:, :blocks] for blocks in range(2, 6))]
    observed = [Observed(space.tokens(rows), rng.random(len(rows), np.float32)) for rows in levels]
    predictor = make_predictor(predictor_name, space, 0)
    start = time.perf_counter()
    predictor.fit(observed)
    fitted = time.perf_counter()
    candidates = space.expand(levels[3])
    made = len(candidates)
    candidates = candidates[space.distinct(candidates)]
    predictor.predict(space.tokens(candidates))
    scored = time.perf_counter()
    cells = sum(map(len, levels))
    print(f"{predictor_name}: fitted to {cells:,} cells in {fitted - start:.1f} s")
    print(f"{predictor_name}: {made:,} expansions deduplicated and scored in {scored - fitted:.1f} s")


def write_pictures(folder: Path, count: int) -> None:
    """Write random images of two classes."""
    rng = np.random.default_rng(0)
    for index in range(count):
        path = folder / str(index % 2) / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path)


def children_per_hour(job: ChildTrainer, workers: int, count: int) -> float:
    """Return the number of children that the workers train per hour, after each has trained one."""
    space, rng = find_config("two_cores").space, np.random.default_rng(0)
    cells = [space.decode(row) for row in space.sample(count, rng)]
    evaluator = LocalEvaluator(job, workers, Patience())
    with ThreadPoolExecutor(workers) as pool:
        try:
            list(pool.map(evaluator.train, [cells[0]] * workers))
            start = time.perf_counter()
            list(pool.map(evaluator.train, cells))
            return count * 3600 / (time.perf_counter() - start)
        finally:
            evaluator.close()


def train(count: int) -> None:
    """Compare two workers with one."""
    with tempfile.TemporaryDirectory() as name:
        write_pictures(Path(name), 3000)
        proxy = replace(find_config("two_cores").child, images=2000, validation_images=1000, epochs=2, validate_every=2)
        job = ChildTrainer(proxy, name, None, 2, accelerator="cpu")
        one, two = (children_per_hour(job, workers, count) for workers in (1, 2))
    print(f"children per hour: {one:.0f} by one worker, {two:.0f} by two, {two / one:.2f} times as many")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--children", type=int, default=8)
    parser.add_argument("--only", choices=["propose", "train"])
    options = parser.parse_args()
    print(f"{machine()}; torch {torch.__version__}")
    if options.only != "train":
        for name in ("lstm-ensemble", "mlp-ensemble"):
            propose(name)
        peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
        print(f"peak memory {int(peak) // 1024} MB")
    if options.only != "propose":
        train(options.children)


if __name__ == "__main__":
    main()

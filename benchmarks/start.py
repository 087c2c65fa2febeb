"""Seconds from the start of a process to its first vector with a warm cache, and its peak memory.

Command:  python benchmarks/start.py [--model pnasnet_large] [--runs 5]
Result:   see docs/benchmarks.md.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from pnasnet import write_weights
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import find
from pnasnet.module.open import Model, metadata

from common import machine, random_weights

FIRST_VECTOR = """
import resource, sys
import pnasnet
vector = pnasnet.Module(sys.argv[1]).embed(sys.argv[2])
assert vector.shape[0] == 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def main() -> None:
    """Fill the cache with one run, then time the other runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pnasnet_large")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    photo = Path(__file__).parents[1] / "tests" / "photos" / "chelsea.jpg"
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        plan = resolve(find(options.model).spec)
        write_weights(weights, random_weights(plan), **metadata(Model(options.model, plan, None, (), "random", None)))
        command = [sys.executable, "-c", FIRST_VECTOR, str(weights), str(photo)]
        environment = {**os.environ, "PNASNET_CACHE": str(Path(folder) / "cache")}
        seconds, memory = [], []
        for index in range(options.runs + 1):
            start = time.perf_counter()
            result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            seconds.append(time.perf_counter() - start)
            memory.append(int(result.stdout))
            kind = "warm" if index else "cold"
            print(f"{kind} cache: {seconds[-1]:.2f} s to the first vector, {memory[-1]} MB peak")
    print(f"warm median {statistics.median(seconds[1:]):.2f} s, {max(memory[1:])} MB; {machine()}")


if __name__ == "__main__":
    main()

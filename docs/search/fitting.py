"""Compare ways to fit the predictors where Liu et al., 2018, leave it open, on the journal beside this file.

Command:  python docs/search/fitting.py        writes fitting.json beside it; about 15 minutes on two CPU cores
Method:   two tasks. "2": fitted to the 55 cells of one block, rank all trained cells of two blocks. "3": fitted to
          those and to the 24 cells of two blocks that a progressive search trained (three searches), rank the random
          cells of three blocks. Figures are means of Spearman's rank correlation over seeds 0 to 4 of the predictor.
Result:   measured for the MLP ensemble so far: 0.45 to 0.49 on "2", 0.49 to 0.50 on "3", whatever the choice, so
          `Fitting` in src/pnasnet/search/neural.py was not changed. The journal is small and its accuracies are noisy
          (standard deviation 0.8 %): differences below about 0.05 are not significant.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import torch

from pnasnet.search.algorithms import observe
from pnasnet.search.analysis import Findings, read_findings
from pnasnet.search.neural import Fitting, Lstm, Mlp, Neural
from pnasnet.search.observed import Observed
from pnasnet.search.predictors import ENSEMBLE, fit_and_rank
from pnasnet.search.session import Step

HERE = Path(__file__).parent
SEEDS = range(5)
NETWORKS = {"mlp-ensemble": Mlp, "lstm-ensemble": Lstm}
GRID = [
    Fitting(weights, batch, 0, steps)
    for weights, batch, steps in itertools.product(("uniform", "fan-in"), (16, 64), (50, 100, 200, 400, 800))
]


def main() -> None:
    """Fit and write the table."""
    torch.set_num_threads(1)
    findings = read_findings(HERE)
    tasks = {"2": [two_blocks(findings)], "3": list(three_blocks(findings))}
    rows = []
    for name, fitting in itertools.product(sys.argv[1:] or NETWORKS, GRID):
        row = {"predictor": name, "weights": fitting.weights, "batch": fitting.batch, "steps": fitting.least_steps}
        for task, cases in tasks.items():
            network = NETWORKS[name]
            values = [
                ranked(Neural(network, findings.config.space, ENSEMBLE, seed, fitting), *case)
                for case in cases
                for seed in SEEDS
            ]
            row |= {task: round(float(np.mean(values)), 3), f"{task} deviation": round(float(np.std(values)), 3)}
        print(json.dumps(row), flush=True)
        rows.append(row)
    text = ",\n".join(json.dumps(row) for row in rows)
    (HERE / "fitting.json").write_text(f"[\n{text}\n]\n", "utf-8")


def ranked(predictor: Neural, known: list[Observed], unseen: Observed) -> float:
    """Fit a predictor to known cells, and return its rank correlation on unseen ones."""
    return fit_and_rank(predictor, known, unseen)[0]


def two_blocks(findings: Findings) -> tuple[list[Observed], Observed]:
    """Return the cells of one block, and all of two blocks."""
    runs = findings.steps["progressive"].values()
    return [level(findings, runs, 1)], level(findings, runs, 2)


def three_blocks(findings: Findings) -> "itertools.chain[tuple[list[Observed], Observed]]":
    """Return, for each progressive search, its cells of one and two blocks, and the random cells of three."""
    unseen = level(findings, findings.steps["random"].values(), 3)
    return itertools.chain(
        ([level(findings, [steps], 1), level(findings, [steps], 2)], unseen)
        for steps in findings.steps["progressive"].values()
    )


def level(findings: Findings, runs: "list[list[Step]]", blocks: int) -> Observed:
    """Return the different cells of so many blocks in some searches."""
    steps = {step.choice.cell.canonical(): step for steps in runs for step in steps if step.choice.level == blocks}
    return observe(findings.config.space, list(steps.values()))


if __name__ == "__main__":
    main()

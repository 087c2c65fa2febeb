"""Draw docs/int8.svg: what int8 costs in fidelity and gains in speed, as parts of pnasnet_tiny leave int8.

Command:  python docs/make_int8.py PHOTOS [--model pnasnet_tiny]
          (the figure in the documentation: CIFAR-10's test pictures)
Needs:    the extra int8, and matplotlib.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pnasnet.extract import list_units
from pnasnet.module.open import open_model
from pnasnet.quantize import QuantizeOptions, TradeOff, graphs
from pnasnet.quantize.images import read_images
from pnasnet.quantize.run import make_graphs
from pnasnet.support.progress import silent

from common import in_turn

HERE = Path(__file__).parent
ROUNDS, BATCH = 15, 16


def measure(name: str, photos: str) -> tuple[list[TradeOff], list[float]]:
    """Return all steps from int8 alone to floating point alone, and the speed of each relative to float32."""
    import openvino

    model, options = open_model(name), QuantizeOptions(least_cosine=1.0, threads=1)
    images = read_images(list_units([photos]), model.spec.image_size, model.preset, options, silent)
    original, whole, steps = make_graphs(model, images, options, silent)
    core = openvino.Core()

    def compiled(graph: openvino.Model, hint: str) -> openvino.CompiledModel:
        config = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1}
        return core.compile_model(graphs.pruned(graph, ["global_pool"]), "CPU", config)

    runs = {"float32": compiled(original, "f32")}
    for number, step in enumerate(steps):
        runs[str(number)] = compiled(graphs.without(whole, step.floating), "bf16")
    seconds = in_turn(runs, images.held_out[:BATCH], ROUNDS)
    return steps, [seconds["float32"] / seconds[str(number)] for number in range(len(steps))]


def draw(steps: list[TradeOff], speeds: list[float], name: str) -> Figure:
    """Return the figure: 1 - cosine against the share of int8, each point with its speed."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    shares = [100 * step.int8_share for step in steps]
    axes.plot(shares, [step.cosine for step in steps], "o-", color="#3b6ea5")
    labelled = 200.0
    for share, step, speed in zip(shares, steps, speeds, strict=True):
        if labelled - share < 3:  # labels would overlap
            continue
        labelled = share
        axes.annotate(f"{speed:.1f}x", (share, step.cosine), (0, 7), textcoords="offset points", ha="center", size=8)
    axes.axhline(0.995, color="#999999", linewidth=0.8, linestyle="--")
    axes.set_xlabel("multiply-adds in int8, %; the rest in bfloat16")
    axes.set_ylabel("mean cosine to float32")
    axes.set_title(f"{name}: labels are the speed relative to float32", size=10)
    axes.set_xlim(-4, 104)
    axes.margins(y=0.15)
    return figure


def main() -> None:
    """Measure, draw, and print the points."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("--model", default="pnasnet_tiny")
    parser.add_argument("-o", "--output", default=str(HERE / "int8.svg"))
    options = parser.parse_args()
    steps, speeds = measure(options.model, options.photos)
    for step, speed in zip(steps, speeds, strict=True):
        kept = ", ".join(step.floating) or "none"
        print(f"int8 {step.int8_share:7.2%}  cosine {step.cosine:.5f}  {speed:5.2f} x  in bfloat16: {kept}")
    draw(steps, speeds, options.model).savefig(options.output, metadata={"Date": None})
    print(np.round(speeds, 2))


if __name__ == "__main__":
    main()

"""Train `pnasnet_tiny`, the model that the package ships, on CIFAR-10.

Command:  python -m pnasnet.train.tiny TRAIN.parquet TEST.parquet -o runs/train_tiny
Data:     CIFAR-10 as two Parquet files with an `image` struct and a `label` (50,000 and 10,000 images).
Hardware: two CPU cores, about 75 minutes; a run that was stopped goes on where it was.
Result:   see `src/pnasnet/data/pnasnet_tiny.md`, the model card.
"""

import logging
from pathlib import Path

import click

from ..cells import PNASNET5
from ..errors import PnasnetError
from ..spec import NetworkSpec
from .data import read_parquet
from .loop import Recipe, accuracy, nearest_neighbour_accuracy, predict, train

SPEC = NetworkSpec(PNASNET5, 4, 24, (32, 32), 10, stem="cifar", stem_multiplier=1.0, weight_decay=3e-4, aux_head=False)
RECIPE = Recipe(spec=SPEC, stages=((16, 8), (24, 4), (32, 2)))


@click.command(help="Train pnasnet_tiny on CIFAR-10.")
@click.argument("training", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("test", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Output folder.")
def main(training: Path, test: Path, output: Path) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        train_data, test_data = read_parquet(training), read_parquet(test)
        network = train(RECIPE, train_data, output).averaged()
    except PnasnetError as error:
        raise click.ClickException(str(error)) from error
    top1 = accuracy(predict(network, test_data, "Logits"), test_data.labels)
    neighbours = nearest_neighbour_accuracy(
        predict(network, train_data, "global_pool"), train_data.labels,
        predict(network, test_data, "global_pool"), test_data.labels,
    )  # fmt: skip
    click.echo(f"top-1 {top1:.4f}, 20 nearest neighbours {neighbours:.4f} on {len(test_data)} test images")


if __name__ == "__main__":
    main()

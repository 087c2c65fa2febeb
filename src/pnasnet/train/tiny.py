"""Train `pnasnet_tiny`, the model that the package ships, on CIFAR-10.

Command:  python -m pnasnet.train.tiny TRAIN.parquet TEST.parquet -o runs/train_tiny
Data:     CIFAR-10 as two Parquet files with an `image` struct and a `label` (50,000 and 10,000 images).
Hardware: two CPU cores, about 75 minutes; a run that was stopped goes on where it was.
Result:   see `src/pnasnet/data/pnasnet_tiny.md`, the model card.
"""

import logging
from pathlib import Path

import click

from ..errors import PnasnetError
from ..labels import labels
from ..model import Model, metadata
from ..network import Network
from ..weights import write_weights
from ..zoo import find
from .data import Dataset, read_parquet
from .loop import Recipe, accuracy, nearest_neighbour_accuracy, predict, train

NAME = "pnasnet_tiny"
RECIPE = Recipe(spec=find(NAME).spec, stages=((16, 8), (24, 4), (32, 2)))


@click.command(help="Train pnasnet_tiny on CIFAR-10, measure it, and write its weights to the output folder.")
@click.argument("training", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("test", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Output folder.")
def main(training: Path, test: Path, output: Path) -> None:
    """Train, measure and write."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        train_data, test_data = read_parquet(training), read_parquet(test)
        network = train(RECIPE, train_data, output).averaged()
        path = output / f"{NAME}.safetensors"
        model = Model(NAME, network.plan, None, (), "this project, trained on CIFAR-10", labels("cifar10"))
        write_weights(path, network.to_variables(), **metadata(model))
    except PnasnetError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{path}: {measure(network, train_data, test_data)}")


def measure(network: Network, train_data: Dataset, test_data: Dataset) -> str:
    """Return the accuracy of the classifier, and of the nearest neighbours by the features, as a line of text."""
    top1 = accuracy(predict(network, test_data, "Logits"), test_data.labels)
    neighbours = nearest_neighbour_accuracy(
        predict(network, train_data, "global_pool"),
        train_data.labels,
        predict(network, test_data, "global_pool"),
        test_data.labels,
    )
    return f"top-1 {top1:.4f}, 20 nearest neighbours {neighbours:.4f} on {len(test_data)} test images"


if __name__ == "__main__":
    main()

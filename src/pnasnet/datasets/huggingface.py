"""Opens labelled images of Hugging Face datasets, by name or in a folder written by `save_to_disk`."""

from ..errors import InputError
from ..pictures.access import CLOSED, Access
from ..pictures.columns import refuse_missing
from ..pictures.huggingface import RowReader, load
from .columns import Columns, plain_labels, read_labels
from .labelled import LabelledImages
from .splits import choose, refuse


def open_huggingface(
    source: str, split: str | None, image_column: str | None = None, access: Access = CLOSED
) -> LabelledImages:
    """Return the images of `hf:NAME`, `hf:NAME:CONFIG` or a folder written by `save_to_disk`.

    Each image is named `hf:NAME/split#17`. Classes and columns are as in a Parquet file.

    Raises:
        MissingExtraError: the datasets library is not installed.
        InputError: there is no such dataset, configuration or split; there are several splits and none is named; or
            there are no labelled images.
    """
    where, dataset = source, load(source)
    if isinstance(dataset, dict):
        name, dataset = choose({name: (name, found) for name, found in dataset.items()}, split, source)
        where = f"{source}/{name}"
    elif split != str(dataset.split):
        refuse(split, source)
    columns = Columns.of(dataset.features.arrow_schema, where, image_column)
    if not len(dataset):
        raise InputError(f"{where!r} has no rows: choose a dataset with images")
    names = [f"{where}#{row}" for row in range(len(dataset))]
    labels = dataset.select_columns([columns.label]).with_format("arrow")[:].column(0)
    numbers, classes = read_labels(plain_labels(labels, where), names, columns.classes)
    read = RowReader(dataset, columns.image, where, source, access)
    refuse_missing(read.column, names)
    return LabelledImages(names, numbers, classes, read)

"""Runs of an extraction into a folder, and what interrupts them."""

from collections.abc import Callable, Iterable
from pathlib import Path

from pnasnet import Module
from pnasnet.extract import ExtractOptions, Listener, Report, Sources, columns_for, extract_to, list_units
from pnasnet.pictures import Unit

THREE = ExtractOptions(batch_size=3)


class StopAfter(Listener):
    """Interrupts a run after so many rows."""

    def __init__(self, rows: int) -> None:
        self._left = rows

    def progress(self, rows: int) -> None:
        self._left -= rows
        if self._left <= 0:
            raise KeyboardInterrupt


def run(
    module: Module,
    output: Path,
    *sources: Path,
    options: ExtractOptions = THREE,
    listener: Listener | None = None,
    endpoints: tuple[str, ...] = ("global_pool",),
    units: Callable[[], Iterable[Unit]] | None = None,
    overwrite: bool = False,
    add: bool = False,
) -> Report:
    names = [str(source) for source in sources]
    columns = columns_for([module], endpoints, options)
    listed = Sources(units or (lambda: list_units(names)), names)
    return extract_to(output, listed, columns, options, listener=listener, overwrite=overwrite, add=add)

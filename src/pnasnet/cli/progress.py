"""Progress bars, on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def rows_bar(what: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar of `total` rows within the block; yields what advances it."""
    from tqdm import tqdm

    # Disabled by None: where standard error is no terminal. The delay: not before the first rows.
    with tqdm(total=total, desc=what, unit="row", disable=quiet or None, delay=1e-9, leave=False) as bar:

        def advance(rows: int) -> None:
            bar.update(rows)

        yield advance


@contextmanager
def stages_bar(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each of several stages; yields what is told (stage, done, total)."""
    from tqdm import tqdm

    bars: dict[str, tqdm[None]] = {}

    def progress(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            bars[stage] = tqdm(total=total, desc=stage, unit="row", disable=quiet or None, delay=1e-9, leave=False)
        bars[stage].update(done - bars[stage].n)

    try:
        yield progress
    finally:
        for bar in bars.values():
            bar.close()

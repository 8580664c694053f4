"""The progress bar of `verbose`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Row = dict[str, float]
T = TypeVar("T")


def progress(iterable: Iterable[T], verbose: bool | int, name: str, total: int, unit: str) -> Iterable[T]:
    """The same things, on a tqdm bar if `verbose`."""
    if not verbose:
        return iterable
    from tqdm.auto import tqdm

    return tqdm(iterable, name, total, unit=unit)


@contextmanager
def progress_bar(verbose: bool | int, name: str, n_epochs: int) -> Iterator[Callable[[Row], None]]:
    """A function that shows one more row of the history: on a tqdm bar, or not at all."""
    if not verbose:
        yield lambda row: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=n_epochs, desc=name, unit="epoch") as bar:

        def show(row: Row) -> None:
            shown = {"loss": f"{row['loss']:.4g}"}
            if "validation_score" in row:
                shown["validation score"] = f"{row['validation_score']:.4g}"
            bar.set_postfix(shown, refresh=False)
            bar.update()

        yield show

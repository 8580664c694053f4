"""The progress bar of `verbose`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ..interrupts import deferred

Row = dict[str, float]
T = TypeVar("T")


def progress(iterable: Iterable[T], verbose: bool | int, name: str, total: int, unit: str) -> Iterable[T]:
    """The same things, on a tqdm bar if `verbose`."""
    if not verbose:
        yield from iterable
        return
    with _bar(name, total, unit) as bar:
        for each in iterable:
            yield each
            with deferred():
                bar.update()


@contextmanager
def progress_bar(
    verbose: bool | int, name: str, n_epochs: int, n_before: float = 0
) -> Iterator[Callable[[Row], None]]:
    """A function that shows one more row of the history: on a tqdm bar, or not at all. `n_before`: epochs of
    earlier fits."""
    if not verbose:
        yield lambda row: None
        return
    with _bar(name, n_epochs, "epoch") as bar:

        def show(row: Row) -> None:
            shown = {"loss": f"{row['loss']:.4g}"}
            if "validation_score" in row:
                shown["validation score"] = f"{row['validation_score']:.4g}"
            with deferred():
                bar.set_postfix(shown, refresh=False)
                bar.update(row["epoch"] - n_before - bar.n)

        yield show


@contextmanager
def _bar(name: str, total: int, unit: str) -> Iterator[Any]:
    """A tqdm bar. To be used where interrupts are deferred: one that falls into tqdm leaves its lock taken,
    for which the bars of other threads would wait."""
    with deferred():
        from tqdm.auto import tqdm

        bar = tqdm(total=total, desc=name, unit=unit)
    try:
        yield bar
    finally:
        with deferred():
            bar.close()

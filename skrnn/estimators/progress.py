"""The progress bar of `verbose`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Row = dict[str, float]


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

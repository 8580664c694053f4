"""One comparison: make each library's work, see that all compute the same, measure them in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.peers import PEERS, missing, module
from benchmarks.work import Unavailable, Work, reason
from benchmarks.worker import started

TOLERANCE = 1e-4  # of outputs, and of the head's weights after three training steps, which move by 3e-3
TRAINED_TOLERANCE = {"keras_layers": 1e-3}  # it has one bias to train where the others have two
DIFFER = "its results differ"
TF32_TOLERANCE = 1e-2  # ten bits of a product's operands


@contextmanager
def opened(name: str, threads: int) -> Iterator[Callable[..., Work]]:
    """``make(kind, *arguments, **options) -> Work`` of a peer, here or in a process of its own.

    The last argument of every kind, the number of threads, is filled in here.
    """
    if absent := missing(name):
        raise Unavailable(absent)
    if PEERS[name].own_process:
        with started(name, threads) as make:
            yield make
    else:
        yield lambda kind, *arguments, **options: getattr(module(name), kind)(*arguments, threads, **options)


@contextmanager
def open_peers(
    names: Iterable[str], threads: int
) -> Iterator[tuple[dict[str, Callable[..., Work]], dict[str, str]]]:
    """``make(kind, *arguments) -> Work`` of the peers that are installed, and why others are not there."""
    peers, absent = {}, {}
    with ExitStack() as stack:
        for name in names:
            try:
                peers[name] = stack.enter_context(opened(name, threads))
            except Unavailable as problem:
                absent[name] = reason(problem)
        yield peers, absent


def result(work: Work, steps: int) -> np.ndarray:
    """What a work has computed after so many calls; 0: what a call returns."""
    if steps:
        work.sample(steps)
    return work.result().ravel()


def tolerance(name: str, steps: int) -> float:
    if name.endswith("tf32"):
        return TF32_TOLERANCE
    return TRAINED_TOLERANCE.get(name, TOLERANCE) if steps else TOLERANCE


def made(
    makers: Mapping[str, Callable[[], Work]],
    notes: dict[str, str],
    steps: int | None,
    expected: np.ndarray | None = None,
) -> Iterator[tuple[str, Work]]:
    """Make each work and see that it computes what is expected, or what the first one did.

    Why others are left out goes into `notes`.
    """
    for name, make in makers.items():
        try:
            work = make()
            if steps is None:
                work.sample(1)  # so that what fails, fails here
            else:
                found = result(work, steps)
                expected = found if expected is None else expected
                difference = float(np.abs(found - expected).max())
                if not difference <= tolerance(name, steps):
                    raise Unavailable(f"{DIFFER} by {difference:.1e}")
        except Exception as problem:  # whatever a library raises leaves its column out
            notes[name] = reason(problem)
        else:
            yield name, work


def compare(
    ours: Mapping[str, Work],
    theirs: Mapping[str, Callable[[], Work]],
    absent: Mapping[str, str],
    plan: timing.Plan,
    threads: int,
    steps: int | None = 0,
) -> dict[str, Any]:
    """Times, ratios to ``ours["skrnn"]`` where that is there, and notes on what is left out.

    `steps` is the number of calls after which all must have the same results; None: no check.
    """
    notes = dict(absent)
    expected = result(ours["skrnn"], steps) if steps is not None else None
    works = dict(ours) | dict(made(theirs, notes, steps, expected))
    return timing.compared(timing.interleave(works, plan, threads)) | {"notes": notes}

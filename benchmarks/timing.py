"""Interleaved rounds, a b c a b c: a change of clock or load meets every library alike."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.work import Work

SHORT_CALL = 0.02  # calls up to this long get an untimed one before each sample: caches as in a loop
# With several threads, for samples as in a loop: a second core needs a while to come up, and the idle
# threads of the library before spin on for a while.
TEAM_SAMPLE, TEAM_START = 0.01, 0.03

Seconds = dict[str, list[float]]  # by name, seconds per call of every round


class Plan(NamedTuple):
    """How long to measure: until `seconds` have gone, but between `least` and `most` rounds.

    Shorter calls are repeated until a sample takes about `sample` seconds.
    """

    seconds: float
    least: int
    most: int
    sample: float = 0.002


SHORT = Plan(1.0, 5, 15)


def plan(short: bool, seconds: float = 3.5) -> Plan:
    return SHORT if short else Plan(seconds, 7, 41)


def interleave(works: Mapping[str, Work], plan: Plan, threads: int = 1) -> Seconds:
    """Measure all works turn by turn."""
    sample = plan.sample if threads == 1 else TEAM_SAMPLE
    once = {}
    for name, work in works.items():
        work.sample(1)
        once[name] = max(1e-7, min(work.sample(1) for _ in range(3)))
    calls = {name: math.ceil(sample / seconds) for name, seconds in once.items()}
    rounds: Seconds = {name: [] for name in works}
    start = time.perf_counter()
    for k in range(plan.most):
        if k >= plan.least and time.perf_counter() - start > plan.seconds:
            break
        for name, work in works.items():
            if threads > 1:
                work.sample(math.ceil(TEAM_START / once[name]))
            elif once[name] < SHORT_CALL:
                work.sample(1)
            rounds[name].append(work.sample(calls[name]) / calls[name])
    return rounds


def summary(seconds: list[float]) -> dict[str, Any]:
    """Median, quartiles and number of rounds."""
    q1, median, q3 = np.quantile(seconds, [0.25, 0.5, 0.75])
    return {"median": float(median), "q1": float(q1), "q3": float(q3), "rounds": len(seconds)}


def ratio(theirs: list[float], ours: list[float]) -> dict[str, Any]:
    """The ratio of the medians, and the quartiles of the ratios of single rounds."""
    n = min(len(theirs), len(ours))  # equal in rounds that were interleaved
    q1, q3 = np.quantile(np.divide(theirs[:n], ours[:n]), [0.25, 0.75])
    return {"ratio": float(np.median(theirs) / np.median(ours)), "q1": float(q1), "q3": float(q3)}


def compared(rounds: Seconds) -> dict[str, Any]:
    """The part of a row of the report that every table has: times, and ratios to ours, if that is there."""
    ours = rounds.get("skrnn")
    return {
        "times": {name: summary(seconds) for name, seconds in rounds.items()},
        "ratios": {
            name: ratio(seconds, ours) for name, seconds in rounds.items() if ours and name != "skrnn"
        },
    }

"""Numbers that are not finite: the place of the first one, and what to do about it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import assert_all_finite

from ..sequences import Sequences, lies_on_host

FEW = 65_536  # values for which `assert_all_finite` takes longer than a look at each


def all_finite(values: np.ndarray, allow_nan: bool) -> bool:
    if not lies_on_host(values):  # on a GPU, where NumPy's functions of elements are that device's
        return not _is_bad(values, allow_nan).any()
    if values.size <= FEW:
        return not _is_bad(values, allow_nan).any()
    with np.errstate(invalid="ignore"):  # inf - inf in the sum that is looked at first
        try:
            assert_all_finite(values, allow_nan=allow_nan)
        except ValueError:
            return False
    return True


def _is_bad(values: np.ndarray, allow_nan: bool) -> np.ndarray:
    return np.isinf(values) if allow_nan else ~np.isfinite(values)


def first_bad(values: np.ndarray, allow_nan: bool) -> tuple[int, int]:
    """Row and column of the first value that may not be there."""
    return divmod(int(_is_bad(values, allow_nan).argmax()), values.shape[1])


def problem_of(original: Any, dtype: np.dtype) -> str:
    """What is wrong with a value that is not finite as `dtype`."""
    original = original.item()  # from a GPU, where it may lie
    if np.isfinite(original):
        return f"a value too large for {dtype}"
    return "NaN" if np.isnan(original) else "infinity"


def check_finite(sequences: Sequences, source: Any, allow_nan: bool, channels_first: bool) -> None:
    """Find the first value that is not finite; `source` are the values before their cast."""
    values = sequences.values
    if all_finite(values, allow_nan):
        return
    row, feature = first_bad(values, allow_nan)
    i = int(np.searchsorted(sequences.offsets, row, side="right")) - 1
    t = row - sequences.offsets[i]
    problem, advice = problem_of(source[i][t, feature], values.dtype), ""
    if problem == "NaN" and lies_on_host(values):
        missing = sequences.split(np.isnan(values))
        if all(_is_padded(each[None]) for each in missing if each.any()):
            known = (
                "x[:, ~numpy.isnan(x).all(axis=0)]" if channels_first else "x[~numpy.isnan(x).all(axis=1)]"
            )
            advice = (
                ". If sequences are padded with NaN, drop it: nothing needs padding here, and X = "
                f"[{known} for x in X] is a list of sequences of different lengths"
            )
    raise ValueError(f"sequence {i} contains {problem} at step {t}{advice}")


def advice_on_padded_rows(X: np.ndarray) -> str:
    missing = np.isnan(X)
    if lies_on_host(X) and _is_padded(missing[:, :, None]) and (missing.sum(axis=1) > 1).any():
        return (
            ". If rows are padded with NaN, drop it: X = [x[~numpy.isnan(x)].reshape(-1, 1) for x in "
            "numpy.asarray(X)] is a list of sequences of different lengths"
        )
    return ""


def _is_padded(missing: np.ndarray) -> bool:
    """Whether the NaN of sequences (n, T, F) are whole steps at an end, and no sequence is all NaN."""
    steps = np.all(missing, axis=2)
    inside = np.logical_or.accumulate(~steps, axis=1)
    inside &= np.logical_or.accumulate(~steps[:, ::-1], axis=1)[:, ::-1]
    return bool(steps.any() and not steps.all(axis=1).any() and not (missing & inside[:, :, None]).any())

"""Which columns of 2-D X each time step reads.

Columns are read by position, unless their names say which lag they are (`lag_1`, `a_lag_1`, `a(t-1)`, ...),
or the rows are windows over one series that some columns are no part of. What is no lag is static: it is
fed to every step.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils._indexing import _get_column_indices

from ..sequences import lies_on_host
from .devices import warn_the_caller

# Names of lags. `of` is the variable; `past` counts steps back, `offset` has a sign, with minus for the past.
LAGS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<of>.+_(target|pastcov|futcov))_lag(?P<offset>-?\d+)",  # Darts
        r"((?P<of>.+?)(__|[_. ]))?lag[_. -]?(?P<past>\d+)",  # lag_1, x_lag_1, x__lag_1, x.lag1, lag 1, lag-1
        r"lag_(?P<past>\d+)__(?P<of>.+)",  # sktime
        r"(?P<of>.*)\(t(?P<offset>[+-]\d+)?\)",  # make_windows: x(t-1), x(t)
        r"((?P<of>.+)_)?t(?P<offset>[+-]\d+)?",  # x_t-1, x_t
        r"(?P<of>.+)\((?P<offset>-\d+)\)",  # EViews: x(-1)
        r"(?P<of>.+)\.(?-i:L)(?P<past>\d+)",  # statsmodels: x.L1, and of its VAR: L1.x
        r"(?-i:L)(?P<past>\d+)\.(?P<of>.+)",
    )
]
# x_L1, L1: beside other columns, L1 may be a norm, a layer or a phase; where all are named so, they make the
# steps in any case.
ONLY_LAGS = re.compile(r"((?P<of>.+)_)?L(?P<past>\d+)")
NUMBERED = re.compile(r"(?P<of>.*?)(?P<number>\d+)")
# Rows by which a series is recognised from its windows: fewer could agree by chance.
ENOUGH_ROWS = 10
MOST_DELAYS = 16  # that are tried for a column


class Columns(NamedTuple):
    """The parameters of the estimators by which 2-D X is read."""

    features_per_step: int
    newest_first: bool
    static: Any


def same_layout(fitted: dict[str, Any], given: dict[str, Any]) -> bool:
    """Whether these parameters say the same of X; a model of an earlier version knows fewer of them."""
    return all(value is given[name] or np.array_equal(value, given[name]) for name, value in fitted.items())


def by_position(n_columns: int, given: Columns, static: np.ndarray | None = None) -> np.ndarray:
    """Neighbouring columns make a step, those of `static` belong to all of them.

    Returns
    -------
    ndarray of shape (T, features_per_step + n_static)
        The columns that each step reads, oldest step first.

    Raises
    ------
    ValueError
        If the columns do not divide into steps.
    """
    static = np.empty(0, np.intp) if static is None else static
    lags = np.delete(np.arange(n_columns), static)
    if len(lags) % given.features_per_step:
        beside = f" beside the {len(static)} of static_columns" if len(static) else ""
        raise ValueError(
            f"X has {len(lags)} columns{beside}, which is not a multiple of features_per_step="
            f"{given.features_per_step}; columns that belong to no step go into static_columns"
        )
    steps = lags.reshape(-1, given.features_per_step)
    return _with_static(steps[::-1] if given.newest_first else steps, static)


def choose_columns(X: Any, values: Any, names: np.ndarray | None, given: Columns) -> np.ndarray:
    """What `by_position` gives, or what names or values know better, with a warning that says so.

    Parameters
    ----------
    X : array or frame of shape (n, n_columns)
        As it was passed, for `static`, which may be a function of it.
    values : array of shape (n, n_columns)
        X as numbers.
    names : ndarray of str or None
        Of the columns.

    Returns
    -------
    ndarray of shape (T, n_features)

    Raises
    ------
    ValueError
        If there is no such column, if none is left for the steps, or if they do not divide into steps.
    """
    n_columns = values.shape[1]
    static = None if given.static is None else _find(X, given.static, n_columns)
    found = None if names is None else _by_name(names, given, static)
    if found is None and static is None:
        found = _beside_windows(values, given)
    if found is not None:
        return found
    columns = by_position(n_columns, given, static)
    if names is not None:
        _warn_of_numbers_out_of_order(names, columns[:, : given.features_per_step], given)
    return columns


def arranged(X: Any, columns: np.ndarray) -> Any:
    """The steps (n, T, n_features) of rows; a view where columns are read as they lie."""
    plain = np.arange(X.shape[1]).reshape(len(columns), -1) if columns.size == X.shape[1] else None
    if plain is None or not (np.array_equal(columns, plain) or np.array_equal(columns, plain[::-1])):
        return X[:, columns.reshape(-1)].reshape(len(X), *columns.shape)
    steps = X.reshape(len(X), *columns.shape)
    return steps if np.array_equal(columns, plain) else steps[:, ::-1]


def _with_static(steps: np.ndarray, static: np.ndarray) -> np.ndarray:
    return steps if not len(static) else np.concatenate([steps, np.tile(static, (len(steps), 1))], axis=1)


def _find(X: Any, static: Any, n_columns: int) -> np.ndarray:
    """Positions of static columns, each once, in X's order."""
    try:
        wanted = static(X) if callable(static) else static
        found = np.unique(np.array(_get_column_indices(X, wanted), dtype=np.intp))
    except (ValueError, TypeError, IndexError, NotImplementedError) as error:
        raise ValueError(f"static_columns: {error}") from error
    if len(found) == n_columns:
        raise ValueError(
            f"static_columns={static!r} leaves none of the {n_columns} columns to the time steps"
        )
    return found


# --- names ------------------------------------------------------------------------------------------------
def _lag(name: str, patterns: list[re.Pattern[str]]) -> tuple[str, int] | None:
    """The variable and the offset in time that a column's name tells."""
    for pattern in patterns:
        match = pattern.fullmatch(name)
        if match:
            parts = match.groupdict()
            past = parts.get("past")
            return parts["of"] or "", int(parts["offset"] or 0) if past is None else -int(past)
    return None


def _lags(names: np.ndarray) -> list[tuple[str, int] | None]:
    """What each name tells; prefixes as of ColumnTransformer, ``scaled__lag_1``, are read over where what is
    behind them still tells all lags apart.
    """
    patterns = [*LAGS, ONLY_LAGS] if all(map(ONLY_LAGS.fullmatch, names)) else LAGS
    lags = [_lag(name, patterns) for name in names]
    behind = [_lag(name.partition("__")[2], patterns) or lag for name, lag in zip(names, lags, strict=True)]
    known = [lag for lag in behind if lag is not None]
    return behind if len(set(known)) == len(known) else lags


def _by_name(names: np.ndarray, given: Columns, static: np.ndarray | None) -> np.ndarray | None:
    """The steps that names of lags tell, or None where they tell nothing.

    The variables with the most lags make the steps; what has fewer of these lags, or none, is static.
    """
    series: dict[str, dict[int, int]] = {}
    others = []
    read = [column for column in range(len(names)) if static is None or column not in static]
    for column, lag in zip(read, _lags(names[read]), strict=True):
        if lag is None:
            others.append(column)
            continue
        of, offset = lag
        if offset in series.setdefault(of, {}):
            return None
        series[of][offset] = column
    if not series:
        return None
    most = max(series.values(), key=len)
    complete = [columns for columns in series.values() if columns.keys() == most.keys()]
    partial = [columns for columns in series.values() if columns.keys() != most.keys()]
    others += [column for columns in partial for column in columns.values()]
    if len(most) < 2 or (others and static is not None):
        return None  # a lag or two among features; or whoever named static_columns has said what is none
    if any(columns.keys() - most.keys() for columns in partial):
        _warn_of_other_lags(names, most, partial)
        return None
    offsets, n_series = sorted(most), len(complete)
    lags = [[columns[offset] for columns in complete] for offset in offsets]
    whole, rest = divmod(given.features_per_step, n_series)  # lags that make one step, such as a day's hours
    if rest or len(offsets) % whole:
        whole = 1
    steps = np.array(lags, np.intp).reshape(-1, whole * n_series)
    static = np.array(sorted(others), np.intp) if static is None else static
    columns = _with_static(steps, static)
    if steps.shape[1] == given.features_per_step:
        for newest_first in given.newest_first, not given.newest_first:
            lying = by_position(len(names), given._replace(newest_first=newest_first), static)
            if _agrees(lying[:, : given.features_per_step], steps, lags, whole):
                columns = lying
                if newest_first == given.newest_first and not others:
                    return columns
                break
    _warn_of_names(names, columns, static, given, bool(others))
    return columns


def _agrees(columns: np.ndarray, steps: np.ndarray, lags: list[list[int]], whole: int) -> bool:
    """Whether the same columns make each step, with the same features in the same place."""
    feature = {column: (t % whole, k) for t, lag in enumerate(lags) for k, column in enumerate(lag)}
    features = [[feature[column] for column in step] for step in columns.tolist()]
    same = np.array_equal(np.sort(columns, axis=1), np.sort(steps, axis=1))
    return same and all(each == features[0] for each in features)


def _warn_of_names(
    names: np.ndarray, columns: np.ndarray, static: np.ndarray, given: Columns, implied: bool
) -> None:
    said = (
        f"X's columns are read by their names, which say lags: {len(columns)} steps of {columns.shape[1]} "
        f"features, oldest first, from {_list(names[columns[0]])} to {_list(names[columns[-1]])}"
    )
    wanted = Columns(columns.shape[1] - len(static), given.newest_first, None)
    turned = wanted._replace(newest_first=not given.newest_first)
    parts = []
    if implied:
        said += f"; fed to every step: {_list(names[static])}"
        parts.append(f"static_columns={_list(names[static])}")
    if wanted.features_per_step != given.features_per_step:
        parts.append(f"features_per_step={wanted.features_per_step}")
    if np.array_equal(by_position(len(names), wanted, static), columns):
        advice = f"Set {' and '.join(parts)}"
    elif np.array_equal(by_position(len(names), turned, static), columns):
        advice = f"Set {' and '.join([*parts, f'newest_first={turned.newest_first}'])}"
    else:
        advice = "Pass the columns step by step, all features of a step together,"
    warn_the_caller(
        f"{said}. By position, with features_per_step={given.features_per_step} and newest_first="
        f"{given.newest_first}, they would be read otherwise. {advice} to say so yourself, or pass X without "
        "names, X.to_numpy(), to have it read by position",
        UserWarning,
    )


def _warn_of_other_lags(names: np.ndarray, most: dict[int, int], partial: list[dict[int, int]]) -> None:
    column = next(c for columns in partial for offset, c in columns.items() if offset not in most)
    warn_the_caller(
        f"X's columns are named as lags, but {names[column]!r} has no counterpart among those of "
        f"{names[next(iter(most.values()))]!r}: the columns are read by position as steps. Give each series "
        "the same lags, or name the others in static_columns",
        UserWarning,
    )


def _warn_of_numbers_out_of_order(names: np.ndarray, steps: np.ndarray, given: Columns) -> None:
    """A warning where trailing numbers, by all signs of steps, do not go along with the steps.

    The signs: each of as many variables as a step has features comes with the same numbers in a row, and
    neither all numbers nor all variables are together. A lone variable in no order at all counts, too.
    """
    parts = [[NUMBERED.fullmatch(names[column]) for column in step] for step in steps]
    if not all(match for step in parts for match in step):
        return
    of = np.array([[match["of"] for match in step] for step in parts])  # type: ignore[index]
    number = np.array([[int(match["number"]) for match in step] for step in parts])  # type: ignore[index]
    variables, n_steps = np.unique(of), len(steps)
    expected = number.min() + np.arange(n_steps)
    if len(variables) != given.features_per_step or n_steps < 3:
        return
    if any(not np.array_equal(np.sort(number[of == variable]), expected) for variable in variables):
        return
    together = (number == number[:, :1]).all() and (of == of[0]).all()
    if together and abs(np.diff(number[:, 0])).max() == 1:
        return
    if (of == of[:, :1]).all() and n_steps == len(variables) > 1:
        return  # as many variables as steps: the numbers may well be those of features
    wrong = np.flatnonzero((number != number[:, :1]).any(axis=1) | (of != of[0]).any(axis=1))
    at = int(wrong[0]) if len(wrong) else int(np.argmax(abs(np.diff(number[:, 0])) != 1))
    shown = steps[at] if len(wrong) else steps[at : at + 2, 0]
    what = "make one step" if len(wrong) else "follow on one another as steps"
    warn_the_caller(
        f"with features_per_step={given.features_per_step}, the columns {_list(names[shown])} {what}: the "
        "numbers of X's columns do not go along with the steps. Did an earlier step of a pipeline reorder "
        "them? Columns go step by step, all features of a step together",
        UserWarning,
    )


def _list(names: Any) -> str:
    """The first five."""
    shown = [repr(str(name)) for name in names[:5]]
    return f"[{', '.join(shown)}{', ...' if len(names) > 5 else ''}]"


# --- values -----------------------------------------------------------------------------------------------
def _beside_windows(X: Any, given: Columns) -> np.ndarray | None:
    """Steps and static columns where rows are consecutive windows, newest step first, and the last columns no
    part of them: by position they would become the oldest steps.

    So are the tables that skforecast makes: lags and then covariates, without names. That a column is a lag
    is certain where every row repeats the value of an earlier row in the first column.
    """
    if not given.newest_first or given.features_per_step > 1 or not lies_on_host(X):
        return None
    n_lags, n_columns = _count_lags(X), X.shape[1]
    if n_lags < 2 or n_lags == n_columns:
        return None
    warn_the_caller(
        f"X's rows are windows of {n_lags} steps over one series, which the columns from {n_lags} on are no "
        "part of: those are fed to every step, and not read as its oldest steps. Set static_columns="
        f"slice({n_lags}, None) to say so yourself, or static_columns=[] to have them read as steps",
        UserWarning,
    )
    return by_position(n_columns, given, np.arange(n_lags, n_columns))


def _count_lags(X: np.ndarray) -> int:
    """How many columns repeat the first one, each by more rows than the one before."""
    n, first = len(X), X[:, 0]
    _, where, counts = np.unique(first[: n // 2], return_index=True, return_counts=True)
    if n < 2 * ENOUGH_ROWS or len(counts) < 3:  # nothing can be told from it
        return 0
    rare = int(where[counts.argmin()])
    last, count = 0, 1
    for column in X[:, 1:].T:
        delays = last + 1 + np.flatnonzero(column[rare + last + 1 : n] == first[rare])[:MOST_DELAYS]
        found = next((int(d) for d in delays if np.array_equal(column[d:], first[: n - d])), None)
        if found is None or found > n - ENOUGH_ROWS:
            break
        last, count = found, count + 1
    return count

"""Names of columns in lists of frames: others, or another order, are refused, as scikit-learn does."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler

from skrnn import GRUClassifier, GRURegressor, LSTMRegressor, SequenceTransformer
from skrnn.estimators.inputs import read_X
from skrnn.sequences import object_array

RNG = np.random.default_rng(0)
WALKS = [
    pd.DataFrame({"speed": RNG.normal(size=t), "tilt": RNG.normal(0, 3, t)}) for t in RNG.integers(4, 9, 30)
]
LABELS = [int(walk["speed"].sum() > 0) for walk in WALKS]
TURNED = [walk[["tilt", "speed"]] for walk in WALKS]
OTHERS = [walk.rename(columns={"tilt": "yaw"}) for walk in WALKS]
ARRAYS = [walk.to_numpy() for walk in WALKS]

FORMS = {
    "list": list,
    "tuple": tuple,
    "object array": object_array,
    "Series": lambda frames: pd.Series(frames, dtype=object),
}


def short(cls=GRUClassifier, **params):
    return cls(4, max_iter=2, random_state=0, **params)


def polars():
    return pytest.importorskip("polars")


def as_polars(frames):
    pl = polars()
    return [pl.DataFrame(frame.to_dict("list")) for frame in frames]


@pytest.fixture(params=[*FORMS, "polars", "Series of polars", "Arrow", "batches of Arrow"])
def form(request):
    if request.param == "polars":
        return as_polars
    if request.param == "Series of polars":
        return lambda frames: polars().Series("x", as_polars(frames), dtype=polars().Object)
    if request.param == "Arrow":
        pa = pytest.importorskip("pyarrow")
        return lambda frames: [pa.Table.from_pandas(frame, preserve_index=False) for frame in frames]
    if request.param == "batches of Arrow":
        pa = pytest.importorskip("pyarrow")
        return lambda frames: [pa.RecordBatch.from_pandas(frame, preserve_index=False) for frame in frames]
    return FORMS[request.param]


def test_another_order_is_refused_everywhere(form):
    est = short().fit(form(WALKS), LABELS)
    assert est.feature_names_in_.tolist() == ["speed", "tilt"]
    expected = short().fit(ARRAYS, LABELS).predict_proba(ARRAYS)
    np.testing.assert_array_equal(est.predict_proba(form(WALKS)), expected)
    for frames, what in (TURNED, "in the same order"), (OTHERS, "unseen at fit time"):
        for method in ("predict", "predict_proba", "hidden_states", "predict_with_state"):
            with pytest.raises(ValueError, match=f"(?s)sequence 0: The feature names .*{what}"):
                getattr(est, method)(form(frames))
        for ask in est.score, est.partial_fit:
            with pytest.raises(ValueError, match="sequence 0: The feature names should match"):
                ask(form(frames), LABELS)
    with pytest.raises(ValueError, match="X_val: sequence 0: The feature names should match"):
        short().fit(form(WALKS), LABELS, X_val=form(TURNED), y_val=LABELS)
    transformer = SequenceTransformer(StandardScaler()).fit(form(WALKS))
    with pytest.raises(ValueError, match="sequence 0: The feature names should match"):
        transformer.transform(form(TURNED))
    assert len(transformer.transform(form(WALKS))) == len(WALKS)


@pytest.mark.parametrize("cls", [GRUClassifier, SequenceTransformer])
def test_the_sequence_is_named_and_nothing_is_learnt(form, cls):
    est = short() if cls is GRUClassifier else cls(StandardScaler())
    before = dict(vars(est))
    for wrong in TURNED, OTHERS:
        with pytest.raises(ValueError, match="sequence 7: The feature names should match"):
            est.fit(form([*WALKS[:7], wrong[7], *WALKS[8:]]), LABELS)
        assert vars(est) == before
    est.fit(form(WALKS), LABELS)
    with pytest.raises(ValueError, match="sequence 7: The feature names should match"):
        (est.predict if cls is GRUClassifier else est.transform)(form([*WALKS[:7], TURNED[7]]))


def test_names_on_one_side_only():
    """As scikit-learn does for one frame: a warning, once, and columns by position."""
    named, nameless = short().fit(WALKS, LABELS), short().fit(ARRAYS, LABELS)
    expected = nameless.predict_proba(ARRAYS)
    for X in ARRAYS, [*WALKS[:-1], ARRAYS[-1]], [walk.set_axis([0, 1], axis=1) for walk in WALKS]:
        with pytest.warns(
            UserWarning, match="X does not have valid feature names, but GRUClassifier"
        ) as seen:
            np.testing.assert_array_equal(named.predict_proba(X), expected)
        assert len(seen) == 1
        assert seen[0].filename == __file__
    with pytest.warns(UserWarning, match="X has feature names, but GRUClassifier was fitted without") as seen:
        np.testing.assert_array_equal(nameless.predict_proba(WALKS), expected)
    assert len(seen) == 1
    dense = np.stack([walk[:4] for walk in ARRAYS])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        named.predict(dense)
    with pytest.warns(UserWarning, match="sequence 1 has feature names, but sequence 0 has none"):
        short().fit([ARRAYS[0], *WALKS[1:]], LABELS)


def test_a_fit_without_names_forgets_them():
    est = short().fit(WALKS, LABELS).fit(ARRAYS, LABELS)
    assert not hasattr(est, "feature_names_in_")
    est.fit(WALKS, LABELS).fit([walk.set_axis([0, 1], axis=1) for walk in TURNED], LABELS)
    assert not hasattr(est, "feature_names_in_")


def test_names_that_are_not_all_strings_or_not_unique():
    mixed = [*WALKS[:3], WALKS[3].set_axis(["speed", 1], axis=1), *WALKS[4:]]
    with pytest.raises(TypeError, match="sequence 3: Feature names are only supported if all"):
        short().fit(mixed, LABELS)
    twice = [*WALKS[:3], WALKS[3].set_axis(["speed", "speed"], axis=1), *WALKS[4:]]
    with pytest.raises(ValueError, match=r"(?s)sequence 3: .*'speed' 2 times"):
        short().fit(twice, LABELS)
    levels = [walk.set_axis(pd.MultiIndex.from_product([["a"], walk.columns]), axis=1) for walk in WALKS]
    est = short().fit(levels, LABELS)  # tuples are no strings, as for scikit-learn
    assert not hasattr(est, "feature_names_in_")


def channels_first(frames):
    return [frame.T.set_axis([f"s{t}" for t in range(len(frame))], axis=1) for frame in frames]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_rows_have_the_names_where_channels_come_first(form):
    X = form(channels_first(WALKS))
    est = short(channels_first=True).fit(X, LABELS)
    assert est.feature_names_in_.tolist() == ["speed", "tilt"]
    np.testing.assert_array_equal(est.predict_proba(X), short().fit(ARRAYS, LABELS).predict_proba(ARRAYS))
    for wrong in channels_first(TURNED), channels_first(OTHERS):
        with pytest.raises(ValueError, match="sequence 0: The feature names should match"):
            est.predict(form(wrong))
        mixed = [*channels_first(WALKS[:3]), *wrong[3:]]
        for cls in GRUClassifier, GRURegressor:
            with pytest.raises(ValueError, match="sequence 3: The feature names should match"):
                short(cls, channels_first=True).fit(form(mixed), LABELS)
    transformer = SequenceTransformer(StandardScaler(), channels_first=True).fit(X)
    with pytest.raises(ValueError, match="sequence 0: The feature names should match"):
        transformer.transform(channels_first(TURNED))
    with pytest.raises(ValueError, match="expected the features"):
        est.stream().step(TURNED[0].iloc[0])


def test_rows_without_names_where_channels_come_first():
    nameless = [walk.T.reset_index(drop=True) for walk in WALKS]
    for X in nameless, as_polars(channels_first(WALKS)), [walk.to_numpy() for walk in nameless]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            est = short(channels_first=True).fit(X, LABELS)
            est.predict(X)
        assert not hasattr(est, "feature_names_in_")


# --- lists of Series --------------------------------------------------------------------------------------
ROWS = [pd.Series(RNG.normal(size=4), index=list("abcd")) for _ in range(20)]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_labels_of_rows_are_names_of_columns(form):
    y = [row["a"] for row in ROWS]
    est = short(LSTMRegressor).fit(form(ROWS), y)
    assert est.feature_names_in_.tolist() == list("abcd")
    table = pd.DataFrame(ROWS)
    np.testing.assert_array_equal(est.predict(form(ROWS)), est.predict(table))
    turned = [row[list("bacd")] for row in ROWS]
    for X in form(turned), pd.DataFrame(turned):
        with pytest.raises(ValueError, match="feature names should match"):
            est.predict(X)
    with pytest.raises(ValueError, match=r"X\[3\] has the labels of X\[0\] in another order: \['b', 'a'"):
        short(LSTMRegressor).fit(form([*ROWS[:3], turned[3], *ROWS[4:]]), y)


def test_labels_that_are_no_names_of_columns():
    stamps = [row.set_axis([f"2024-01-{k + i + 1:02}" for i in range(4)]) for k, row in enumerate(ROWS)]
    dates = [row.set_axis(pd.to_datetime(row.index)) for row in stamps]
    sorted_ = [row.reset_index(drop=True).sort_values() for row in ROWS]
    mixed = [*ROWS[:-1], ROWS[-1].to_numpy()]
    for X in stamps, dates, sorted_, mixed, [row.set_axis(["a", "a", "b", "b"]) for row in ROWS]:
        data = read_X(BaseEstimator(), X, reset=True, by_name=True)
        np.testing.assert_array_equal(data.sequences.values.reshape(20, 4), np.stack(X))
    est = short(LSTMRegressor).fit(stamps, np.arange(20.0))
    assert not hasattr(est, "feature_names_in_")


def test_labels_that_are_lags():
    X = [row.set_axis(["lag_1", "lag_2", "lag_3", "promo"]) for row in ROWS]
    with pytest.warns(UserWarning, match="read by their names"):
        data = read_X(BaseEstimator(), X, reset=True, by_name=True)
    assert data.sequences.values[:3].tolist() == [[X[0].iloc[k], X[0].iloc[3]] for k in (2, 1, 0)]


# --- y ----------------------------------------------------------------------------------------------------
STEPS = [pd.DataFrame({"u": walk["speed"].cumsum(), "v": walk["tilt"]}) for walk in WALKS]


def test_names_of_targets_per_step(form):
    est = short(GRURegressor, return_sequences=True).fit(ARRAYS, form(STEPS))
    right, turned = est.score(ARRAYS, form(STEPS)), [step[["v", "u"]] for step in STEPS]
    np.testing.assert_allclose(right, est.score(ARRAYS, [step.to_numpy() for step in STEPS]))
    wrong = form([*STEPS[:5], turned[5], *STEPS[6:]])
    for ask in est.score, est.fit, est.partial_fit:
        with pytest.raises(ValueError, match=r"y\[5\] has the labels of y\[0\] in another order"):
            ask(ARRAYS, wrong)
    for ask in est.score, est.partial_fit:
        with pytest.raises(ValueError, match=r"y has the columns \['v', 'u'\], but in fit they came as"):
            ask(ARRAYS, form(turned))
    with pytest.raises(ValueError, match=r"y_val has the columns \['v', 'u'\]"):
        est.fit(ARRAYS, form(STEPS), X_val=ARRAYS, y_val=form(turned))
    with pytest.raises(ValueError, match=r"y\[5\] has the columns \['u', 'w'\]"):
        est.fit(ARRAYS, form([*STEPS[:5], STEPS[5].rename(columns={"v": "w"}), *STEPS[6:]]))


def test_names_of_label_sets_and_of_targets_per_sequence():
    sets = [(step > 0).astype(int) for step in STEPS]
    est = short(return_sequences=True).fit(ARRAYS, sets)
    with pytest.raises(ValueError, match="in fit they came as"):
        est.score(ARRAYS, [one[["v", "u"]] for one in sets])
    rows = [step.iloc[-1] for step in STEPS]
    turned = [*rows[:4], rows[4][["v", "u"]], *rows[5:]]
    with pytest.raises(ValueError, match=r"y\[4\] has the labels of y\[0\] in another order"):
        short(GRURegressor).fit(ARRAYS, turned)
    table = pd.DataFrame(rows)
    est = short(GRURegressor).fit(ARRAYS, table)
    assert np.isfinite(est.score(ARRAYS, table))
    for wrong in table[["v", "u"]], table.rename(columns={"v": "w"}):
        with pytest.raises(ValueError, match=r"in fit they came as \['u', 'v'\]"):
            est.score(ARRAYS, wrong)
    with pytest.raises(ValueError, match=r"y_val has the columns \['u', 'w'\]"):
        est.fit(ARRAYS, table, X_val=ARRAYS[:9], y_val=table[:9].rename(columns={"v": "w"}))


@pytest.mark.parametrize("cls", [GRURegressor, GRUClassifier])
def test_labels_of_rows_of_targets_are_those_of_fit(cls):
    rows = [step.iloc[-1] if cls is GRURegressor else (step.iloc[-1] > 0).astype(int) for step in STEPS]
    turned = [row[["v", "u"]] for row in rows]
    est = short(cls).fit(ARRAYS, rows)
    assert est.score(ARRAYS, rows) == est.score(ARRAYS, pd.DataFrame(rows))
    for y in turned, pd.DataFrame(turned):
        with pytest.raises(ValueError, match=r"y has the columns \['v', 'u'\], but in fit they came as"):
            est.score(ARRAYS, y)


def test_a_batch_of_arrow_is_a_table():
    pa = pytest.importorskip("pyarrow")
    table = pd.DataFrame(ROWS)
    batch, turned = (
        pa.RecordBatch.from_pandas(t, preserve_index=False) for t in (table, table[list("bacd")])
    )
    targets = table[["a", "b"]]
    est = short(LSTMRegressor).fit(batch, targets)
    assert est.feature_names_in_.tolist() == list("abcd")
    np.testing.assert_array_equal(est.predict(batch), est.predict(table))
    with pytest.raises(ValueError, match="same order as they were in fit"):
        est.predict(turned)
    with pytest.raises(ValueError, match=r"y has the columns \['b', 'a'\]"):
        est.score(batch, pa.RecordBatch.from_pandas(targets[["b", "a"]], preserve_index=False))


def test_targets_whose_names_say_nothing():
    stamps = [step["u"].set_axis(pd.date_range("2024", periods=len(step))) for step in STEPS]
    one = [step[["u"]].rename(columns={"u": f"u of {i}"}) for i, step in enumerate(STEPS)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        est = short(GRURegressor, return_sequences=True).fit(ARRAYS, stamps)
        assert np.isfinite(est.fit(ARRAYS, one).score(ARRAYS, one))

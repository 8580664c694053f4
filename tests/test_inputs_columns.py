"""2-D X with columns that are no steps, or whose names say which step they are."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.multioutput import RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skrnn.estimators
from skrnn import GRUClassifier, LSTMRegressor, SequenceTransformer, make_windows
from skrnn.estimators.inputs import read_X
from skrnn.forecasting import LSTMForecaster

RNG = np.random.default_rng(0)
ROW = np.arange(1.0, 8.0)  # a value tells its column: column k holds k + 1
ALL = [getattr(skrnn.estimators, name) for name in skrnn.estimators.__all__]


def read(X, **given):
    """The steps of the first row, as lists of features."""
    data = read_X(BaseEstimator(), X, reset=True, dtype=np.float64, by_name=True, **given)
    return data.sequences.split(data.sequences.values)[0].tolist()


def frame(*names, n=3):
    return pd.DataFrame(np.tile(np.arange(1.0, len(names) + 1), (n, 1)), columns=list(names))


def short(cls=LSTMRegressor, **params):
    return cls(4, max_iter=2, random_state=0, **params)


# --- static_columns ---------------------------------------------------------------------------------------
NAMED = frame(*"abcdefg")


@pytest.mark.parametrize(
    "static",
    [
        [1, 6],
        (6, 1, 6),  # each once, in X's order
        [-6, -1],
        np.array([1, 6], np.uint8),
        [False, True, False, False, False, False, True],
        np.array([False, True, False, False, False, False, True]),
        ["b", "g"],
        np.array(["g", "b"]),
        pd.Index(["b", "g"]),
        lambda X: ["b", "g"],
        make_column_selector("[bg]"),
    ],
)
def test_static_columns_are_fed_to_every_step(static):
    expected = [[1, 2, 7], [3, 2, 7], [4, 2, 7], [5, 2, 7], [6, 2, 7]]
    assert read(NAMED, static_columns=static) == expected
    assert read(NAMED, static_columns=static, newest_first=True) == expected[::-1]


@pytest.mark.parametrize("static", [slice(5, None), slice("f", "g"), slice(-2, None)])
def test_slices(static):
    assert read(NAMED, static_columns=static) == [[k, 6, 7] for k in range(1, 6)]


@pytest.mark.parametrize("static", [6, -1, "g"])
def test_one_static_column_and_steps_of_two(static):
    assert read(NAMED, static_columns=static, features_per_step=2) == [[1, 2, 7], [3, 4, 7], [5, 6, 7]]
    newest = read(NAMED, static_columns=static, features_per_step=2, newest_first=True)
    assert newest == [[5, 6, 7], [3, 4, 7], [1, 2, 7]]


@pytest.mark.parametrize("static", [[], slice(7, None), np.zeros(7, bool)])
def test_none_of_the_columns(static):
    assert read(NAMED, static_columns=static) == [[k] for k in range(1, 8)]


@pytest.mark.parametrize(
    ("static", "message"),
    [
        (["h"], "static_columns: .*h"),
        ([7], "static_columns: "),
        ([-8], "static_columns: "),
        (slice("f", "z"), "static_columns: "),
        ([True, False], "static_columns: "),
        ([1.5], "static_columns: "),
        (slice(None), "leaves none of the 7 columns"),
        ([0, 1], r"X has 5 columns beside the 2 of static_columns.*features_per_step=2"),
    ],
)
def test_columns_that_cannot_be_static(static, message):
    with pytest.raises(ValueError, match=message):
        read(NAMED, static_columns=static, features_per_step=2)


@pytest.mark.parametrize("X", [np.ones((4, 3, 2)), [np.ones((3, 2)), np.ones((2, 2))]])
def test_sequences_have_no_static_columns(X):
    for static in [0], ["a"], slice(1, None):
        with pytest.raises(ValueError, match=r"static_columns=.* is for 2-D X"):
            short(static_columns=static).fit(X, np.arange(len(X)))
    series = pd.Series(np.arange(60.0), pd.date_range("2024", periods=60))
    with pytest.raises(ValueError, match="static_columns"):
        LSTMForecaster(lags=4, regressor=short(static_columns=[0])).fit(series)


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("as_frame", [False, True])
def test_the_same_numbers_as_sequences_with_the_static_values_in_each_step(cls, as_frame):
    lags, static = RNG.normal(size=(40, 6)), RNG.normal(size=(40, 2))
    y = (lags[:, 0] + static[:, 1] > 0).astype(int)
    steps = np.dstack([lags.reshape(40, 3, 2)[:, ::-1], np.tile(static[:, None], (1, 3, 1))])
    X = np.c_[lags[:, :4], static[:, :1], lags[:, 4:], static[:, 1:]]
    X = pd.DataFrame(X, columns=list("pqrstuvw")) if as_frame else X
    rows = short(
        cls, features_per_step=2, newest_first=True, static_columns=["t", "w"] if as_frame else [4, -1]
    )
    est, expected = rows.fit(X, y), short(cls).fit(steps, y)
    np.testing.assert_array_equal(est.predict(X), expected.predict(steps))
    for name, weights in expected.weights_.items():
        np.testing.assert_array_equal(est.weights_[name], weights)
    assert est.n_features_in_ == 8
    assert est.step_columns_.tolist() == [[5, 6, 4, 7], [2, 3, 4, 7], [0, 1, 4, 7]]
    again = pickle.loads(pickle.dumps(est))
    np.testing.assert_array_equal(again.hidden_states(X), expected.hidden_states(steps))


def test_what_was_static_in_fit_stays_so():
    X, y = RNG.normal(size=(30, 7)), RNG.normal(size=30)
    est = short(static_columns=[-1], warm_start=True).fit(X, y)
    before = est.predict(X)
    est.set_params(static_columns=[0])
    np.testing.assert_array_equal(est.predict(X), before)
    with pytest.raises(ValueError, match=r"training goes on .*static_columns"):
        est.fit(X, y)
    est.set_params(static_columns=np.array([-1])).fit(X, y)
    assert est.step_columns_.tolist() == [[k, 6] for k in range(6)]
    est.set_params(warm_start=False, static_columns=None).fit(X.reshape(30, 7, 1), y)
    assert not hasattr(est, "step_columns_")


def test_linear_skip_reads_static_columns_too():
    X = RNG.normal(size=(60, 7))
    est = short(static_columns=[6], linear_skip=True).fit(X, X[:, 6])
    assert est.weights_["skip.weight"].shape == (1, 12)
    assert est.weights_["weight_ih_l0"].shape == (16, 2)


def test_a_place_is_named_by_its_column():
    X = frame(*"abcdefg")
    X.iloc[1, 1] = np.nan
    with pytest.raises(ValueError, match="X contains NaN: row 1, column 'b'"):
        read(X, static_columns=["b"], newest_first=True)
    with pytest.raises(ValueError, match="X contains NaN: row 1, column 1"):
        read(X.to_numpy(), static_columns=[1])


def test_a_chain_of_regressors():
    X = RNG.normal(size=(80, 24))
    Y = np.c_[X[:, 20], X[:, 21], X[:, 22]]
    chain = RegressorChain(short(features_per_step=2, static_columns=slice(24, None))).fit(X, Y)
    assert [e.weights_["weight_ih_l0"].shape[1] for e in chain.estimators_] == [2, 3, 4]
    assert chain.predict(X).shape == Y.shape
    with pytest.raises(ValueError, match=r"X has 25 columns, .*features_per_step=2.*static_columns"):
        RegressorChain(short(features_per_step=2)).fit(X, Y)


def test_parameters_stay_as_they_were():
    given = np.array([1, 2])
    est = short(static_columns=given)
    assert est.get_params()["static_columns"] is given
    assert clone(short(static_columns=["a"])).static_columns == ["a"]


# --- names of lags ----------------------------------------------------------------------------------------
ORDERS = {  # names of columns 1, 2, 3, ..., what positions are told, and the steps
    "skforecast": (["lag_1", "lag_2", "roll_mean_3", "promo"], {}, [[2, 3, 4], [1, 3, 4]]),
    "its other order": (["promo", "lag_1", "lag_2"], {"newest_first": True}, [[3, 1], [2, 1]]),
    "behind": (["lag_1", "lag_2", "promo"], {"newest_first": True}, [[2, 3], [1, 3]]),
    "oldest first": (["lag_3", "lag_2", "lag_1", "promo"], {}, [[1, 4], [2, 4], [3, 4]]),
    "gaps": (["lag_1", "lag_2", "lag_7", "promo"], {}, [[3, 4], [2, 4], [1, 4]]),
    "by number": (["lag_1", "lag_10", "lag_2"], {"newest_first": True}, [[2], [3], [1]]),
    "mlforecast": (["lag1", "lag2", "expanding_mean_lag1", "month"], {}, [[2, 3, 4], [1, 3, 4]]),
    "series of skforecast": (
        ["a_lag_1", "a_lag_2", "b_lag_1", "b_lag_2", "promo_step_1"],
        {"features_per_step": 2},
        [[2, 4, 5], [1, 3, 5]],
    ),
    "fewer lags of b": (["a_lag_1", "a_lag_2", "a_lag_3", "b_lag_1"], {}, [[3, 4], [2, 4], [1, 4]]),
    "sktime": (["lag_1__y", "lag_1__z", "lag_2__y", "lag_2__z"], {}, [[3, 4], [1, 2]]),
    "dots": (["y.lag1", "y.lag2", "z"], {}, [[2, 3], [1, 3]]),
    "blanks": (["y lag 1", "y lag 2"], {}, [[2], [1]]),
    "double underscore": (["y__lag_1", "y__lag_2"], {}, [[2], [1]]),
    "a transformer's prefix": (["scale__lag_1", "scale__lag_2", "rest__z"], {}, [[2, 3], [1, 3]]),
    "make_windows": (["a(t-2)", "b(t-2)", "a(t-1)", "b(t-1)"], {}, [[1, 2], [3, 4]]),
    "of the present": (["a(t)", "a(t-1)"], {}, [[2], [1]]),
    "t-1": (["t-1", "t-2", "z"], {}, [[2, 3], [1, 3]]),
    "x_t-1": (["x_t", "x_t-1", "x_t-2"], {}, [[3], [2], [1]]),
    "statsmodels": (["const", "y.L1", "y.L2"], {}, [[3, 1], [2, 1]]),
    "statsmodels' VAR": (["const", "L1.y", "L1.z", "L2.y", "L2.z"], {}, [[4, 5, 1], [2, 3, 1]]),
    "EViews": (["y(-1)", "y(-2)", "z"], {}, [[2, 3], [1, 3]]),
    "L alone": (["x_L1", "x_L2", "x_L3"], {}, [[3], [2], [1]]),
    "L of two": (["a_L2", "b_L2", "a_L1", "b_L1"], {}, [[1, 2], [3, 4]]),
    "L beside static ones": (["L1", "L2", "z"], {"static_columns": ["z"]}, [[2, 3], [1, 3]]),
    "Darts": (
        ["y_target_lag-2", "y_target_lag-1", "z_pastcov_lag-2", "z_pastcov_lag-1"],
        {},
        [[1, 3], [2, 4]],
    ),
    "grouped": (["a_lag_2", "a_lag_1", "b_lag_2", "b_lag_1"], {"features_per_step": 2}, [[1, 3], [2, 4]]),
    "turned": (["a_lag_2", "b_lag_2", "b_lag_1", "a_lag_1"], {"features_per_step": 2}, [[1, 2], [4, 3]]),
    "days of two hours": (["lag_1", "lag_2", "lag_3", "lag_4"], {"features_per_step": 2}, [[3, 4], [1, 2]]),
    "apart from those named": (
        ["lag_1", "z", "lag_2", "w"], {"static_columns": ["w", "z"]}, [[3, 2, 4], [1, 2, 4]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ORDERS)
def test_names_tell_the_order_of_steps(case):
    names, given, expected = ORDERS[case]
    with pytest.warns(UserWarning, match="X's columns are read by their names") as seen:
        assert read(frame(*names), **given) == expected
    assert len(seen) == 1
    advice = str(seen[0].message).split("they would be read otherwise. ")[1]
    if advice.startswith("Set "):
        settings = advice.removeprefix("Set ").split(" to say so")[0].replace(" and ", ", ")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read(frame(*names), **given | eval(f"dict({settings})")) == expected
    else:
        assert case in ("by number", "grouped", "turned", "series of skforecast", "Darts")


@pytest.mark.parametrize("case", ORDERS)
def test_columns_in_that_order_are_read_without_a_word(case):
    names, given, expected = ORDERS[case]
    columns = np.array(expected, int) - 1
    static = [names[c] for c in columns[0] if (columns == c).any(axis=1).all()]
    steps = [c for c in columns.ravel() if names[c] not in static]
    X = frame(*names)[[*(names[c] for c in steps), *static]]
    width = len(steps) // len(columns)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(X, static_columns=static, features_per_step=width) == expected
        # without names, by position
        plain = read(frame(*names).to_numpy(), features_per_step=1)
    assert plain == [[k] for k in range(1, len(names) + 1)]


SILENT = {
    "lags newest first": (["lag_1", "lag_2", "lag_3"], {"newest_first": True}),
    "lags oldest first": (["lag_3", "lag_2", "lag_1"], {}),
    "lags with static columns": (["lag_2", "lag_1", "z"], {"static_columns": ["z"]}),
    "make_windows": (["a(t-2)", "b(t-2)", "a(t-1)", "b(t-1)"], {"features_per_step": 2}),
    "series, newest first": (
        ["a_lag_1", "b_lag_1", "a_lag_2", "b_lag_2"],
        {"features_per_step": 2, "newest_first": True},
    ),
    "days of hours": (
        ["lag_1", "lag_2", "lag_3", "lag_4"],
        {"features_per_step": 2, "newest_first": True},
    ),
    "no names of lags": (["age", "height", "lagoon", "flag_1", "t"], {}),
    "one lag among features": (["age", "lag_1", "height"], {}),
    "L of norms, phases or layers": (["grad_L1", "grad_L2", "volt_L1", "volt_L2", "load"], {}),
    "l is no L": (["x_l1", "x_l2", "x_l3"], {}),
    "a lag twice": (["lag_1", "lag_01", "lag_2"], {}),
    "numbers in order": ([f"x{k}" for k in range(24)], {}),
    "numbers in order, two a step": ([f"x{k}" for k in range(24)], {"features_per_step": 2}),
    "numbers from 12 on": ([f"pixel_{k}" for k in range(12, 24)], {"features_per_step": 4}),
    "backwards": ([f"v{k}" for k in range(9, 0, -1)], {}),
    "pixels of rows": ([f"p_{i}_{j}" for i in range(4) for j in range(4)], {"features_per_step": 4}),
    "some numbers left out": (["x1", "x9", "x3", "x20"], {}),
    "steps of two": (["a1", "b1", "a2", "b2", "a3", "b3"], {"features_per_step": 2}),
    "no numbers": (list("gfedcba"), {}),
    "said to be steps": (["lag_1", "lag_2", "z"], {"static_columns": []}),
}


@pytest.mark.parametrize("case", SILENT)
def test_names_that_agree_or_say_nothing(case):
    names, given = SILENT[case]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        named = read(frame(*names), **given)
        static = [names.index(name) for name in given.get("static_columns", [])]
        by_position = read(frame(*names).to_numpy(), **given | {"static_columns": static})
    assert named == by_position


OUT_OF_ORDER = {
    "features one after the other": ([f"f{i}_t{t}" for i in range(2) for t in range(12)], 2, "f0_t0.*f0_t1"),
    "features turned round": (["a1", "b1", "b2", "a2", "a3", "b3"], 2, "b2.*a2"),
    "sorted as words": ([f"x{k}" for k in sorted(range(1, 13), key=str)], 1, "x1'.*x10'"),
    "steps sorted as words": (
        [f"{x}_{k}" for k in sorted(range(12), key=str) for x in "ab"], 2, "a_1'.*a_10'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OUT_OF_ORDER)
def test_numbers_that_do_not_go_along_with_the_steps(case):
    names, width, columns = OUT_OF_ORDER[case]
    X = frame(*names)
    with pytest.warns(UserWarning, match=f"features_per_step={width}.*{columns}"):
        named = read(X, features_per_step=width)
    assert named == read(X.to_numpy(), features_per_step=width)  # nothing is done about it


def test_lags_without_counterpart():
    X = frame("a_lag_1", "a_lag_2", "a_lag_3", "b_lag_3", "b_lag_4")
    with pytest.warns(UserWarning, match="'b_lag_4' has no counterpart"):
        assert read(X) == [[k] for k in range(1, 6)]


def table(n=300, lags=12):
    """A series driven by what is known of each day, as lags, newest first, and that."""
    promo = np.random.default_rng(0).normal(size=n)
    y = np.zeros(n)
    for t in range(1, n):
        y[t] = 0.5 * y[t - 1] + promo[t]
    X = np.column_stack([y[lags - k : n - k] for k in range(1, lags + 1)])
    names = [f"lag_{k}" for k in range(1, lags + 1)]
    return pd.DataFrame(X, columns=names).assign(promo=promo[lags:]), y[lags:]


def test_a_fit_by_names_learns_what_the_positions_hide():
    X, y = table()
    est = LSTMRegressor(16, newest_first=True, max_iter=60, learning_rate_init=1e-2, random_state=0)
    with pytest.warns(UserWarning, match=r"static_columns=\['promo'\]") as seen:
        est.fit(X[:200], y[:200])
    assert seen[0].filename == __file__
    assert est.score(X[200:], y[200:]) > 0.95
    assert est.step_columns_[0].tolist() == [11, 12]
    expected = clone(est).set_params(static_columns=["promo"]).fit(X[:200], y[:200]).predict(X)
    np.testing.assert_array_equal(est.predict(X), expected)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(est.predict(X.to_numpy()), expected)
    with pytest.raises(ValueError, match="feature names should match"):
        est.predict(X[X.columns[::-1]])
    est.set_params(warm_start=True, max_iter=1).fit(X[:200], y[:200])  # says it once


def test_pipelines_that_reorder():
    X = frame(*(f"f{k % 2}_t{k // 2}" for k in range(24)), n=20) + RNG.normal(size=(20, 24))
    scale = [(f, StandardScaler(), make_column_selector(f)) for f in ("f0", "f1")]
    columns = ColumnTransformer(scale, verbose_feature_names_out=False).set_output(transform="pandas")
    with pytest.warns(UserWarning, match=r"features_per_step=2, the columns \['f0_t0', 'f0_t1'\]"):
        make_pipeline(columns, short(features_per_step=2)).fit(X, np.arange(20.0))


def test_make_windows_is_read_as_it_says():
    values = pd.DataFrame(RNG.normal(size=(50, 2)), columns=["a", "b"])
    X, y = make_windows(values, lags=6, target="a", exog="b")
    right = short(features_per_step=2).fit(X, y)
    with pytest.warns(UserWarning, match="Set features_per_step=2"):
        forgotten = short().fit(X, y)
    np.testing.assert_array_equal(forgotten.predict(X), right.predict(X))


def test_a_transformer_of_steps_leaves_the_columns_where_they_are():
    X = table()[0]
    scaled = SequenceTransformer(StandardScaler()).set_output(transform="pandas").fit_transform(X)
    assert list(scaled) == list(X)
    np.testing.assert_allclose(scaled, (X - X.to_numpy().mean()) / X.to_numpy().std())


# --- windows without names --------------------------------------------------------------------------------
def test_columns_behind_consecutive_windows():
    X, y = table()
    named = short(newest_first=True, static_columns=["promo"]).fit(X, y)
    for rows in (
        X.to_numpy(),
        X.to_numpy(np.float32),
        X.set_axis(range(13), axis=1),
        X.set_axis([*"abcdefghijklm"], axis=1),
    ):
        with pytest.warns(UserWarning, match=r"windows of 12 steps .*static_columns=slice\(12, None\)"):
            est = short(newest_first=True).fit(rows, y)
        np.testing.assert_allclose(est.predict(rows), named.predict(X), rtol=1e-5, atol=1e-6)
    with pytest.warns(UserWarning, match="windows of 3 steps"):  # with gaps
        read(X[["lag_1", "lag_2", "lag_7", "promo"]].to_numpy(), newest_first=True)


@pytest.mark.parametrize(
    "case", ["windows alone", "shuffled", "few", "oldest first", "said", "constant", "two", "turned"]
)
def test_no_windows_beside_others(case):
    X = table()[0].to_numpy()
    given = {"newest_first": case != "oldest first"}
    if case == "windows alone":
        X = X[:, :12]
    elif case == "shuffled":
        X = RNG.permutation(X)
    elif case == "few":
        X = X[:15]
    elif case == "oldest first":
        X = X[:, [*range(11, -1, -1), 12]]
    elif case == "said":
        given["static_columns"] = []
    elif case == "constant":
        X = np.c_[np.ones((len(X), 12)), X[:, -1]]
    elif case == "turned":
        given["newest_first"] = False
    else:
        given["features_per_step"], X = 2, np.c_[X, X[:, -1]]
    width = given.get("features_per_step", 1)
    steps = X[0].reshape(-1, width)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(X, **given) == (steps[::-1] if given["newest_first"] else steps).tolist()


def test_classifiers_and_validation_data_follow_the_fit():
    X, y = table()
    labels = (y > 0).astype(int)
    with pytest.warns(UserWarning, match="read by their names") as seen:
        est = short(GRUClassifier, newest_first=True).fit(X, labels, X_val=X[:50], y_val=labels[:50])
    assert len(seen) == 1
    assert est.validation_scores_[-1] == est.score(X[:50], labels[:50])
    est.set_params(static_columns=["promo"])
    with pytest.raises(ValueError, match=r"X_val: .*feature names should match"):
        est.fit(X, labels, X_val=X[X.columns[::-1]], y_val=labels)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a__lag_1", "b__lag_2", "remainder__temp"], [[2, 3], [1, 3]]),
        (["a__x_lag_1", "a__x_lag_3", "b__x_lag_2"], [[2], [3], [1]]),
        (["b__lag_2", "a__lag_1"], [[1], [2]]),
        # of two series, or of one both raw and scaled: what is behind the prefix does not tell lags apart
        (["a__lag_1", "a__lag_2", "b__lag_1", "b__lag_2"], [[2, 4], [1, 3]]),
        (["lag_1__a", "lag_2__a", "lag_1__b", "lag_2__b"], [[2, 4], [1, 3]]),
    ],
)
@pytest.mark.filterwarnings("ignore:X's columns are read by their names")
def test_prefixes_of_a_column_transformer_are_no_names_of_series(names, expected):
    assert read(frame(*names)) == expected


def test_a_column_transformer_that_scales_each_lag_alone():
    X = frame("lag_1", "temp", "lag_2", n=4)
    X += np.arange(4.0)[:, None] ** [1, 2, 0.5]
    parts = [("near", StandardScaler(), ["lag_1"]), ("far", "passthrough", ["lag_2"])]
    turn = ColumnTransformer(parts, remainder="passthrough").set_output(transform="pandas")
    with pytest.warns(UserWarning, match="fed to every step: .'remainder__temp'"):
        est = make_pipeline(turn, short(newest_first=True)).fit(X, np.arange(4.0))[-1]
    assert est.step_columns_.tolist() == [[1, 2], [0, 2]]

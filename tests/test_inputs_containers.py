"""Sequences as other libraries keep them, channels first, and what the errors advise."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

import skrnn.estimators
from skrnn import GRUClassifier, GRURegressor, LSTMRegressor, SequenceTargetRegressor, SequenceTransformer
from skrnn.estimators.inputs import read_X
from skrnn.forecasting import LSTMForecaster
from skrnn.sequences import object_array

RNG = np.random.default_rng(0)
RAGGED = [RNG.normal(size=(t, 2)) for t in (3, 1, 5, 2, 4, 6)]
DENSE = RNG.normal(size=(8, 5, 3))
ALL = [getattr(skrnn.estimators, name) for name in skrnn.estimators.__all__]


def read(X, **given):
    return read_X(BaseEstimator(), X, reset=True, by_name=True, **given)


def parts(X, **given):
    sequences = read(X, **given).sequences
    return [part.tolist() for part in sequences.split(sequences.values)]


def short(cls=LSTMRegressor, **params):
    return cls(4, max_iter=2, random_state=0, **params)


# --- PyTorch ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("order", ["sorted", "unsorted", "alone"])
@pytest.mark.parametrize("features", [0, 1, 3])
def test_packed_sequences(order, features):
    torch = pytest.importorskip("torch")
    lengths = {"sorted": [5, 3, 3, 1], "unsorted": [3, 1, 5, 3], "alone": [4]}[order]
    X = [RNG.normal(size=(t, features) if features else t).astype(np.float32) for t in lengths]
    tensors = [torch.tensor(x, requires_grad=True) for x in X]
    packed = torch.nn.utils.rnn.pack_sequence(tensors, enforce_sorted=order != "unsorted")
    data = read(packed)
    assert (data.kind, data.ragged, data.float_type) == ("sequences", True, np.float32)
    assert parts(packed) == [x.reshape(len(x), -1).tolist() for x in X]


def test_a_packed_sequence_as_X_and_y():
    torch = pytest.importorskip("torch")
    pack = torch.nn.utils.rnn.pack_sequence
    X = [torch.tensor(x) for x in RAGGED]
    y = [x[:, 0] for x in X]
    packed, steps = pack(X, enforce_sorted=False), pack(y, enforce_sorted=False)
    est = short(return_sequences=True).fit(packed, steps)
    expected = short(return_sequences=True).fit(RAGGED, [x[:, 0] for x in RAGGED])
    for got, right in zip(est.predict(packed), expected.predict(RAGGED), strict=True):
        np.testing.assert_array_equal(got, right)
    assert est.score(packed, steps) == expected.score(RAGGED, [x[:, 0] for x in RAGGED])
    scaled = SequenceTransformer(StandardScaler()).fit_transform(packed)
    assert [part.shape for part in scaled] == [x.shape for x in RAGGED]
    assert parts(pack(X[:1])) == [RAGGED[0].tolist()]


def test_weights_in_a_packed_sequence():
    torch = pytest.importorskip("torch")

    def packed(arrays):
        tensors = [torch.tensor(array) for array in arrays]
        return torch.nn.utils.rnn.pack_sequence(tensors, enforce_sorted=False)

    y = [x.sum(axis=1) for x in RAGGED]
    w = [np.arange(1.0, len(x) + 1) for x in RAGGED]
    est = short(return_sequences=True)
    expected = est.fit(RAGGED, y, sample_weight=w, X_val=RAGGED, y_val=y, sample_weight_val=w)
    scores, score = expected.history_["validation_score"], expected.score(RAGGED, y, sample_weight=w)
    given = {"sample_weight": packed(w), "X_val": RAGGED, "y_val": y, "sample_weight_val": packed(w)}
    est = short(return_sequences=True).fit(RAGGED, y, **given)
    np.testing.assert_array_equal(est.history_["validation_score"], scores)
    assert est.score(RAGGED, packed(y), sample_weight=packed(w)) == score


@pytest.mark.parametrize("X", [3.0, "abc", b"abc"])
def test_what_is_no_array_at_all_after_a_fit_on_sequences(X):
    est = short().fit(DENSE, np.arange(8.0))
    with pytest.raises(ValueError, match=r"was fitted on sequences .* but X is now 2-D X"):
        est.predict(X)


def test_a_damaged_packed_sequence():
    torch = pytest.importorskip("torch")
    packed = torch.nn.utils.rnn.PackedSequence(torch.ones(5, 2), torch.tensor([3, 1]))
    with pytest.raises(ValueError, match=r"batch_sizes=.* do not fit the 5 steps"):
        read(packed)


def test_nested_tensors():
    torch = pytest.importorskip("torch")
    for layout in torch.strided, torch.jagged:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's: a prototype
            nested = torch.nested.nested_tensor([torch.tensor(x) for x in RAGGED], layout=layout)
        assert parts(nested) == [x.tolist() for x in RAGGED]


# --- columns of lists -------------------------------------------------------------------------------------
def columns(values, dtype):
    """A column of lists of each library."""
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    arrow = {np.float32: pa.float32(), np.float64: pa.float64()}[dtype]
    depth = 2 if np.ndim(values[0][0]) else 1
    polars = {np.float32: pl.Float32, np.float64: pl.Float64}[dtype]
    for _ in range(depth):
        arrow, polars = pa.list_(arrow), pl.List(polars)
    array = pa.array(values, arrow)
    cells = [x if depth == 1 else object_array([np.asarray(step, dtype) for step in x]) for x in values]
    objects = object_array([np.asarray(cell, None if depth == 2 else dtype) for cell in cells])
    return {
        "polars": pl.Series("x", values, dtype=polars),
        "Arrow": array,
        "Arrow in chunks": pa.chunked_array([array[:2], array[2:]]),
        "pandas with Arrow": pd.Series(array, dtype=pd.ArrowDtype(arrow)),
        "pandas": pd.Series(objects),
        "NumPy": objects,
    }


LIBRARIES = ["polars", "Arrow", "Arrow in chunks", "pandas with Arrow", "pandas", "NumPy"]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_of_lists_of_lists(library, dtype):
    values = [x.astype(dtype).tolist() for x in RAGGED]
    column = columns(values, dtype)[library]
    assert parts(column) == values
    if library != "pandas with Arrow":  # whose cells are Python's lists
        assert read(column).float_type is dtype
    y = np.arange(6.0)
    np.testing.assert_array_equal(
        short().fit(column, y).predict(column), short().fit(values, y).predict(values)
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_columns_of_lists_of_numbers(library):
    """Like lists of them: rows where all are as long, else an error whose line works."""
    values = [x[:, 0].tolist() for x in RAGGED]
    X = columns(values, np.float64)[library]
    with pytest.raises(ValueError, match="item 1 has length 1") as error:
        read(X)
    line = str(error.value).rpartition("X = ")[2].partition(". Sequences of tokens")[0]
    assert parts(eval(line, {"numpy": np, "X": X})) == [x[:, :1].tolist() for x in RAGGED]
    even = [x[:1, 0].tolist() * 4 for x in RAGGED]
    data = read(columns(even, np.float64)[library])
    assert (data.kind, data.sequences.lengths.tolist()) == ("rows", [4] * 6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_columns_of_lists_as_y(library):
    values = [x[:, 0].tolist() for x in RAGGED]
    y = columns(values, np.float64)[library]
    est, expected = (short(return_sequences=True).fit(RAGGED, each) for each in (y, values))
    for name, weights in expected.weights_.items():
        np.testing.assert_array_equal(est.weights_[name], weights)
    assert est.score(RAGGED, y) == expected.score(RAGGED, values)


def test_cells_that_are_missing_or_differ_inside():
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    values = [x.tolist() for x in RAGGED]
    for X in pl.Series([*values[:3], None]), pa.array([*values[:3], None]):
        with pytest.raises(ValueError, match=r"sequence 3 has shape \(\)"):
            read(X)
    for X in pl.Series([*values[:3], [[1.0], [2.0, 3.0]]]), pa.array([*values[:3], [[1.0], [2.0, 3.0]]]):
        with pytest.raises(ValueError, match="sequence 3 cannot be read as"):
            read(X)


def test_columns_of_fixed_width_and_of_structs():
    pl = pytest.importorskip("polars")
    assert read(pl.Series(DENSE[:, :, 0])).kind == "rows"
    assert parts(pl.Series(DENSE)) == DENSE.tolist()
    assert parts(pl.Series([x.tolist() for x in RAGGED], dtype=pl.List(pl.Array(pl.Float64, 2))))[2] == (
        RAGGED[2].tolist()
    )
    records = [[{"u": u, "v": v} for u, v in x] for x in RAGGED]
    est = short().fit(pl.Series(records), np.arange(6.0))
    assert est.feature_names_in_.tolist() == ["u", "v"]
    with pytest.raises(ValueError, match="feature names should match"):
        est.predict(pl.Series([[{"v": v, "u": u} for u, v in x] for x in RAGGED]))
    pa = pytest.importorskip("pyarrow")
    for X in records, pa.array(records):
        with pytest.raises(ValueError, match="sequence 0 is a list of dicts: pass a DataFrame"):
            read(X)


def test_frames_whose_cells_hold_sequences():
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    cells = {name: [x[:, k].tolist() for x in RAGGED] for k, name in enumerate("uv")}
    for X in (
        pd.DataFrame(cells),
        pd.DataFrame({name: [pd.Series(cell) for cell in column] for name, column in cells.items()}),
        pl.DataFrame(cells),
        pa.table(cells),
        pd.DataFrame(cells).to_numpy(),
    ):
        with pytest.raises(ValueError, match="a cell of 2-D X holds several numbers") as error:
            read(X)
        line = str(error.value).rpartition("X = ")[2]
        assert parts(eval(line, {"numpy": np, "X": X})) == [x.tolist() for x in RAGGED]


def test_polars_and_arrow_tables_as_rows():
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    rows, y = DENSE[:, :, 0], DENSE[:, 1, 0]
    names = list("abcde")
    expected = short().fit(rows, y).predict(rows)
    for table in pl.DataFrame(rows, schema=names), pa.table(pd.DataFrame(rows, columns=names)):
        est = short().fit(table, y)
        assert est.feature_names_in_.tolist() == names
        np.testing.assert_array_equal(est.predict(table), expected)
        with pytest.raises(ValueError, match="feature names should match"):
            est.predict(table.select(names[::-1]))
        static = clone(est).set_params(static_columns=["e"]).fit(table, y)
        assert static.step_columns_.tolist() == [[k, 4] for k in range(4)]
    with pytest.raises(ValueError, match=r"a LazyFrame holds no numbers yet: pass what its collect\(\)"):
        read(pl.DataFrame(rows).lazy())


@pytest.mark.parametrize("X", [(x for x in RAGGED), iter(RAGGED), {"a": RAGGED}, {1.0, 2.0}])
def test_what_is_not_looked_into(X):
    with pytest.raises(ValueError, match=f"a {type(X).__name__} is not read: pass a list"):
        short().fit(X, np.arange(6.0))


def test_what_is_not_looked_into_in_a_list():
    pl = pytest.importorskip("polars")
    lazy = pl.DataFrame(RAGGED[1]).lazy()
    est = short(return_sequences=True).fit(RAGGED, [x[:, 0] for x in RAGGED])
    for item, message in (
        (lazy, r"a LazyFrame holds no numbers yet: pass what its collect\(\)"),
        ({"a": [1.0]}, "a dict is not read: pass a list"),
        (iter([[1.0]]), "a list_iterator is not read: pass a list"),
    ):
        for X in [RAGGED[0], item, *RAGGED[2:]], [RAGGED[0], item]:
            with pytest.raises(ValueError, match=f"sequence 1: {message}"):
                est.predict(X)
            with pytest.raises(ValueError, match=f"sequence 1: {message}"):
                short().fit(X, np.arange(float(len(X))))
        with pytest.raises(ValueError, match=f"sequence 0: {message}"):
            short().fit([item] * 6, np.arange(6.0))
        with pytest.raises(ValueError, match=rf"y\[1\]: {message}"):
            est.score(RAGGED, [RAGGED[0][:, 0], item, *RAGGED[2:]])


def test_groups_are_not_looked_into():
    steps = [pd.DataFrame({"id": k, "a": x[:, 0], "b": x[:, 1]}) for k, x in enumerate(RAGGED)]
    table = pd.concat(steps)
    groups = [table.groupby("id"), table.groupby("id")[["a", "b"]], table.groupby("id")["a"]]
    groups.append(pytest.importorskip("polars").DataFrame(table).group_by("id"))
    for X in groups:
        name = type(X).__name__
        message = f"a {name} is not read: pass a list of its frames"
        with pytest.raises(ValueError, match=message):
            short().fit(X, np.arange(6.0))
        with pytest.raises(ValueError, match=message):
            short(return_sequences=True).fit(RAGGED, X)
    listed = [frame for _, frame in table.groupby("id")[["a", "b"]]]
    fitted = [short().fit(X, np.arange(6.0)).predict(X) for X in (listed, RAGGED)]
    np.testing.assert_array_equal(*fitted)


@pytest.mark.parametrize("X", [None, 3.0, "a.csv"])
def test_what_is_no_data(X):
    with pytest.raises(ValueError, match=f"got scalar array instead: X is {X!r}"):
        short().fit(X, np.arange(6.0))


def test_gaps_of_pandas_have_their_place():
    frames = [pd.DataFrame(x, columns=["a", "b"]) for x in RAGGED]
    for dtype in "Float64", object:
        X = [frame.astype(dtype) for frame in frames]
        np.testing.assert_array_equal(read(X).sequences.values, np.concatenate(RAGGED))
        X[2].iloc[3, 1] = pd.NA
        for form in X, pd.Series(X, dtype=object):
            with pytest.raises(ValueError, match="sequence 2 contains NaN at step 3"):
                read(form)
        filled = SequenceTransformer(SimpleImputer()).fit_transform(X)
        expected = np.delete(np.concatenate(RAGGED)[:, 1], 7).mean()
        assert filled[2][3].tolist() == pytest.approx([RAGGED[2][3, 0], expected])
        for y in X, [frame["b"] for frame in X]:
            for est in short(return_sequences=True), SequenceTargetRegressor(short(return_sequences=True)):
                with pytest.raises(ValueError, match=r"Input y contains NaN: y\[2\] at step 3"):
                    est.fit(RAGGED, y)
                weights = [np.ones(len(x)) for x in RAGGED]
                weights[2][3] = 0
                assert np.isfinite(est.fit(RAGGED, y, sample_weight=weights).score(RAGGED, y, weights))
    rows = [frame.iloc[0].astype("Float64") for frame in frames]
    rows[4].iloc[1] = pd.NA
    for X in rows, pd.DataFrame(rows), pd.DataFrame(rows).astype(object):
        with pytest.raises(ValueError, match="Input X contains NaN: row 4, column 'b'"):
            short().fit(X, np.arange(6.0))
    with pytest.raises(ValueError, match="x holds nan in feature 1 of sequence 0"):
        short().fit(frames, np.arange(6.0)).stream().step(rows[4])


@pytest.mark.parametrize("dtype", ["string", object])
def test_labels_that_pandas_does_not_know(dtype):
    y = [pd.Series(["a", "b", "a", "b", "a", "b"][: len(x)], dtype=dtype) for x in RAGGED]
    y[2].iloc[3] = pd.NA
    est = short(GRUClassifier, return_sequences=True)
    for form in y, [label.to_list() for label in y]:
        with pytest.raises(ValueError, match=r"Input y contains NaN: y\[2\] at step 3"):
            est.fit(RAGGED, form)
    weights = [np.ones(len(x)) for x in RAGGED]
    weights[2][3] = 0
    assert est.fit(RAGGED, y, sample_weight=weights).classes_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match=r"Input y contains NaN: y\[3\]"):
        short(GRUClassifier).fit(RAGGED, pd.Series(["a", "b", "a", pd.NA, "b", "a"], dtype=dtype))


# --- padding ----------------------------------------------------------------------------------------------
PADDED = np.full((6, 7, 2), np.nan)
for row, x in zip(PADDED, RAGGED):
    row[: len(x)] = x


@pytest.mark.parametrize("form", ["3-D", "list", "at the start", "channels first", "object"])
def test_padding_has_to_go(form):
    channels_first = form == "channels first"
    X = {
        "3-D": PADDED,
        "list": list(PADDED),
        "at the start": np.stack([np.roll(row, 7 - len(x), axis=0) for row, x in zip(PADDED, RAGGED)]),
        "channels first": PADDED.transpose(0, 2, 1),
        "object": PADDED.astype(object),
    }[form]
    step = 0 if form == "at the start" else 3
    with pytest.raises(ValueError, match=f"sequence 0 contains NaN at step {step}. .*padded") as error:
        short(channels_first=channels_first).fit(X, np.arange(6.0))
    line = str(error.value).rpartition("X = ")[2].partition(" is a list")[0]
    X = X.astype(float) if form == "object" else X
    assert parts(eval(line, {"numpy": np, "X": X}), channels_first=channels_first) == [
        x.tolist() for x in RAGGED
    ]


def test_padded_rows():
    X = PADDED[:, :, 0]
    for rows in X, pd.DataFrame(X, columns=list("abcdefg")):
        with pytest.raises(
            ValueError, match=r"X contains NaN: row 0, column (3|'d'). If rows are padded"
        ) as error:
            read(rows)
        line = str(error.value).rpartition("X = ")[2].partition(" is a list")[0]
        assert parts(eval(line, {"numpy": np, "X": rows})) == [x[:, :1].tolist() for x in RAGGED]


@pytest.mark.parametrize("case", ["inside", "one feature", "all of a sequence", "infinity"])
def test_other_gaps_are_no_padding(case):
    X = PADDED.copy()
    index = {"inside": (5, 2), "one feature": (5, 2, 0), "all of a sequence": 4, "infinity": (0, 0, 0)}[case]
    X[index] = np.inf if case == "infinity" else np.nan
    with pytest.raises(ValueError, match=r"contains (NaN|infinity) at step \d$"):
        read(X)
    with pytest.raises(ValueError, match=r"X contains NaN: row 1, column 2$"):
        read(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, np.nan]]))  # a missing value


def test_transformers_that_take_nan_get_it():
    filled = SequenceTransformer(SimpleImputer()).fit_transform(PADDED)
    assert np.isfinite(filled).all()


# --- channels first ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("per_step", [False, True])
def test_channels_first(cls, per_step):
    target = DENSE[:, :, 0] if per_step else DENSE[:, 0, 0]
    y = (target > 0).astype(int)
    given = dict(return_sequences=per_step)
    expected = short(cls, **given).fit(DENSE, y)
    est = short(cls, channels_first=True, **given).fit(DENSE.transpose(0, 2, 1), y)
    assert est.n_features_in_ == 3
    for X in DENSE.transpose(0, 2, 1), np.ascontiguousarray(DENSE.transpose(0, 2, 1)):
        np.testing.assert_array_equal(est.predict(X), expected.predict(DENSE))
        np.testing.assert_array_equal(est.hidden_states(X), expected.hidden_states(DENSE))
        assert est.score(X, y) == expected.score(DENSE, y)
    lists = [x.T for x in DENSE]
    for got, right in zip(est.predict(lists), expected.predict(DENSE), strict=True):
        np.testing.assert_array_equal(got, right)
    np.testing.assert_array_equal(est.predict([x.tolist() for x in lists])[0], expected.predict(DENSE)[0])


def test_ragged_channels_first():
    y = np.arange(6.0)
    est = short(channels_first=True).fit(
        [x.T for x in RAGGED], y, X_val=[x.T for x in RAGGED[:3]], y_val=y[:3]
    )
    np.testing.assert_array_equal(est.predict([x.T for x in RAGGED]), short().fit(RAGGED, y).predict(RAGGED))
    with pytest.raises(ValueError, match="sequence 1 has 3 features, expected 2"):
        est.predict([RAGGED[0].T, np.ones((3, 4))])
    with pytest.raises(ValueError, match="sequence 0 has no time steps"):
        est.predict([np.ones((2, 0))])
    with pytest.raises(ValueError, match="sequence 1 contains NaN at step 2"):
        est.predict([np.ones((2, 3)), np.array([[1.0, 2.0, np.nan], [1.0, 2.0, 3.0]])])


def test_what_came_first_in_fit_stays_so():
    y = np.arange(8.0)
    est = short(channels_first=True, warm_start=True).fit(DENSE.transpose(0, 2, 1), y)
    before = est.predict(DENSE.transpose(0, 2, 1))
    est.set_params(channels_first=False)
    np.testing.assert_array_equal(est.predict(DENSE.transpose(0, 2, 1)), before)
    with pytest.raises(ValueError, match=r"training goes on .*channels_first"):
        est.fit(DENSE, y)
    # rows and the windows of a forecaster have no such axis
    rows = DENSE[:, :, 0]
    np.testing.assert_array_equal(
        short(channels_first=True).fit(rows, y).predict(rows), short().fit(rows, y).predict(rows)
    )
    series = pd.Series(np.sin(np.arange(60.0)), pd.date_range("2024", periods=60))
    first, plain = (
        LSTMForecaster(lags=4, regressor=short(channels_first=value)).fit(series).predict()
        for value in (True, False)
    )
    pd.testing.assert_series_equal(first, plain)


def test_a_transformer_with_channels_first():
    for transformer in StandardScaler(), PCA(2):
        expected = SequenceTransformer(transformer).fit(DENSE)
        est = SequenceTransformer(transformer, channels_first=True).fit(DENSE.transpose(0, 2, 1))
        assert est.n_features_in_ == 3
        right = expected.transform(DENSE)
        X = DENSE.transpose(0, 2, 1)
        np.testing.assert_array_equal(est.transform(X), right.transpose(0, 2, 1))
        for kind in list, object_array:
            out = est.transform(kind([x[:, :t] for x, t in zip(X, range(1, 6))]))
            assert type(out) is (list if kind is list else np.ndarray)
            for t, part in enumerate(out, 1):
                np.testing.assert_allclose(part, right[t - 1, :t].T, atol=1e-12)
        np.testing.assert_allclose(
            est.inverse_transform(est.transform(X)),
            expected.inverse_transform(right).transpose(0, 2, 1),
        )


@pytest.mark.parametrize("form", ["3-D", "list"])
@pytest.mark.parametrize("cls", [GRURegressor, GRUClassifier])
def test_lone_steps_are_not_taken_in_silence(form, cls):
    X, y = DENSE.reshape(8, 1, 15), np.arange(8) % 2
    X = list(X) if form == "list" else X
    with pytest.warns(UserWarning, match=r"one step of 15 features, .* set channels_first=True") as seen:
        est = short(cls).fit(X, y)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        est.predict(X)
        short(cls, channels_first=True).fit(X, y)
        short(cls).fit(DENSE[:, :1], y)  # three features
        short(cls).fit([*X[:-1], np.ones((2, 15))], y)
        SequenceTransformer(StandardScaler()).fit(X)
    with pytest.warns(UserWarning, match="set channels_first=False"):
        short(cls, channels_first=True).fit(DENSE.reshape(8, 15, 1), y)


# --- one sequence alone -----------------------------------------------------------------------------------
def test_one_sequence_alone():
    y = np.arange(8.0)
    for est, X in (short(), DENSE), (short(channels_first=True), DENSE.transpose(0, 2, 1)):
        est.fit(X, y)
        for alone in X[0], pd.DataFrame(X[0]), X[0].tolist():
            with pytest.raises(
                ValueError, match=r"but X is now 2-D X.*pass \[X\], or X\[:1\] in place of X\[0\]"
            ):
                est.predict(alone)
        np.testing.assert_array_equal(est.predict([X[0]]), est.predict(X[:1]))
        with pytest.raises(ValueError, match=r"but X is now 2-D X \(one row per sequence\)$"):
            est.predict(np.ones((8, 7)))


@pytest.mark.parametrize("as_type", [np.asarray, list, pd.Series])
def test_one_row_alone(as_type):
    rows = DENSE[:, :, 0]
    est = short().fit(rows, np.arange(8.0))
    for ask in est.predict, lambda X: short().fit(X, [1.0]):
        with pytest.raises(ValueError, match=r"X\.reshape\(1, -1\), or X\[:1\] .*make_windows") as error:
            ask(as_type(rows[0]))
        assert "-1, 1" not in str(error.value)

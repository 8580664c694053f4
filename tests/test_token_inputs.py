"""Sequences of tokens as users pass them, with what is said of those that cannot be read."""

import numpy as np
import pandas as pd
import pytest

from skrnn import RNNClassifier, RNNRegressor, from_long_frame
from skrnn.estimators.categories import Categories
from skrnn.estimators.tables import auto_size
from skrnn.estimators.token_inputs import numbers_and_tokens
from skrnn.text import TokenEncoder

rng = np.random.default_rng(0)
TEXTS = [rng.integers(0, 7, n) for n in rng.integers(1, 6, 20)]
Y = [int(text.max() > 3) for text in TEXTS]
# A category, a number, another category.
EVENTS = [np.column_stack([t, rng.random(len(t)), t % 3]).astype(float) for t in TEXTS]
LETTERS = np.array(list("abcdefg"))


def fitted(X=TEXTS, y=Y, cls=RNNClassifier, **parameters):
    given = {"embedding_size": 3, "hidden_size": 4, "max_iter": 2, "random_state": 0} | parameters
    return cls(**given).fit(X, y)


def frames(names=("kind", "amount", "place"), categorical=True):
    """The events, with letters for the kinds."""
    made = []
    for event in EVENTS:
        frame = pd.DataFrame(event, columns=list(names))
        frame["kind"] = LETTERS[event[:, 0].astype(int)]
        frame["place"] = frame["place"].astype(int)
        made.append(frame.astype({"kind": "category"}) if categorical else frame)
    return made


# --- forms of tokens ----------------------------------------------------------------------------------
FORMS = {
    "arrays": lambda X: list(X),
    "lists": lambda X: [x.tolist() for x in X],
    "object array": lambda X: np.array([*X, None], object)[:-1],
    "int8": lambda X: [x.astype(np.int8) for x in X],
    "unsigned": lambda X: [x.astype(np.uint64) for x in X],
    "objects": lambda X: [x.astype(object) for x in X],
    "Series of arrays": lambda X: pd.Series(list(X)),
    "tuple": lambda X: tuple(X),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_one(form):
    model = fitted()
    expected = model.predict_proba(TEXTS)
    np.testing.assert_array_equal(model.predict_proba(FORMS[form](TEXTS)), expected)
    np.testing.assert_array_equal(fitted(FORMS[form](TEXTS)).predict_proba(TEXTS), expected)


def test_equal_lengths_are_a_2d_array():
    X = rng.integers(0, 5, (10, 4))
    y = (X[:, 0] > 2).astype(int)
    one, other = fitted(X, y), fitted(list(X), y)
    assert (one.n_features_in_, one.n_tokens_, one.categories_) == (1, [X.max() + 1], [None])
    np.testing.assert_array_equal(one.predict_proba(list(X)), other.predict_proba(X))
    assert one.predict_proba(X[:, :2]).shape == (10, 2)  # other lengths than in the fit


def test_per_step_answers_have_the_form_of_x():
    y = [text % 2 for text in TEXTS]
    model = fitted(y=y, return_sequences=True)
    ragged = model.predict(TEXTS)
    assert ragged.dtype == object
    assert [len(row) for row in ragged] == [len(text) for text in TEXTS]
    X = rng.integers(0, 5, (4, 3))
    assert model.predict(X).shape == (4, 3)
    assert model.predict(list(X)).dtype == object


def test_an_empty_text_is_one_unknown_token():
    model = fitted()
    np.testing.assert_array_equal(model.predict_proba([[], [1]]), model.predict_proba([[0], [1]]))
    fitted([*TEXTS, np.array([], int)], [*Y, 1])
    with pytest.raises(ValueError, match="sequence 1 has no tokens, and with return_sequences=True"):
        fitted([[1, 2], []], [[0, 1], []], return_sequences=True)
    tagger = fitted(y=[text % 2 for text in TEXTS], return_sequences=True)
    with pytest.raises(ValueError, match="sequence 0 has no tokens"):
        tagger.predict([[]])


def test_tokens_that_were_never_seen_read_the_mean():
    X = [np.array([1, 2]), np.array([3, 2, 5])] * 5
    for model in (
        fitted(X, [0, 1] * 5, n_tokens=9),
        RNNClassifier(embedding_size=3, n_tokens=9).partial_fit(X, [0, 1] * 5, classes=[0, 1]),
    ):
        table = model.weights_["embedding.weight"]
        mean = table[[1, 2, 3, 5]].mean(axis=0)
        np.testing.assert_allclose(table[[0, 4, 6, 7, 8]], np.tile(mean, (5, 1)), rtol=1e-5, atol=1e-7)
        # and are learnt from there once they come
        model.partial_fit([[7, 1]], [0])
        after = model.weights_["embedding.weight"]
        assert abs(after[7] - mean).max() > 1e-4
        np.testing.assert_allclose(after[8], after[[1, 2, 3, 5, 7]].mean(axis=0), rtol=1e-5, atol=1e-7)


def test_partial_fit_is_the_same_with_and_without_what_is_kept():
    kept, new = (RNNClassifier(4, embedding_size=3, n_tokens=9, random_state=0) for _ in range(2))
    for k in range(4):
        for model in (kept, new):
            model.partial_fit(TEXTS[5 * k : 5 * k + 5], Y[5 * k : 5 * k + 5], classes=[0, 1])
        new._memory = None
    assert kept._memory.trainer is not None
    for name, array in kept.weights_.items():
        np.testing.assert_array_equal(new.weights_[name], array, err_msg=name)


# --- steps with categories ----------------------------------------------------------------------------
def test_categories_beside_numbers():
    model = fitted(EVENTS, embedding_size="auto", categorical_features=[0, -1])
    assert (model.n_tokens_, model.n_features_in_) == ([7, 3], 3)
    shapes = {name: array.shape for name, array in model.weights_.items() if "embedding" in name}
    assert shapes == {"embedding_0.weight": (7, auto_size(7)), "embedding_1.weight": (3, auto_size(3))}
    assert model.weights_["weight_ih_l0"].shape[1] == auto_size(7) + auto_size(3) + 1
    mask = fitted(EVENTS, embedding_size="auto", categorical_features=[True, False, True])
    np.testing.assert_array_equal(mask.predict_proba(EVENTS), model.predict_proba(EVENTS))
    sizes = fitted(EVENTS, embedding_size=[4, 1], categorical_features=[0, 2])
    assert sizes.weights_["embedding_0.weight"].shape == (7, 4)


def test_integer_features_are_all_categories():
    X = [np.column_stack([t, t % 3]) for t in TEXTS]
    model = fitted(X)
    assert model.n_tokens_ == [7, 3]
    named = fitted([x.astype(float) for x in X], categorical_features=[0, 1])
    np.testing.assert_array_equal(model.predict_proba(X), named.predict_proba(X))
    dense = rng.integers(0, 5, (10, 4, 2))
    assert fitted(dense, [0, 1] * 5).n_tokens_ == [dense[..., k].max() + 1 for k in range(2)]


@pytest.mark.parametrize("features", ["from_dtype", ["kind"], [0]])
def test_frames(features):
    model = fitted(frames(), categorical_features=features)
    assert model.categories_[0].tolist() == sorted(set(LETTERS[np.unique(np.concatenate(TEXTS))]))
    assert model.feature_names_in_.tolist() == ["kind", "amount", "place"]
    # the tokens are the places of the letters, and 0 is what is unknown or missing
    as_numbers = [np.column_stack([e[:, 0] + 1, e[:, 1:]]) for e in EVENTS]
    by_hand = fitted(as_numbers, categorical_features=[0])
    np.testing.assert_array_equal(by_hand.predict_proba(as_numbers), model.predict_proba(frames()))
    strange = frames(categorical=False)[:2]
    strange[0]["kind"] = "?"
    strange[1]["kind"] = None
    unknown = [np.column_stack([0 * e[:, 0], e[:, 1:]]) for e in EVENTS[:2]]
    np.testing.assert_array_equal(model.predict_proba(strange), by_hand.predict_proba(unknown))


def test_the_size_of_vectors():
    assert [auto_size(n) for n in (2, 60, 128, 20_000)] == [2, 60, 128, 128]


def test_categories_where_there_is_one_feature():
    with pytest.raises(ValueError, match=r"categorical_features=\[0\] is for steps of several features"):
        fitted(categorical_features=[0])


def test_integers_may_be_values():
    """Of a categorical column they are what tokens stand for, in whatever form they come later."""
    made = [
        frame.assign(kind=event[:, 0].astype(int) * 10) for frame, event in zip(frames(), EVENTS, strict=True)
    ]
    model = fitted([f.astype({"kind": "category"}) for f in made], categorical_features="from_dtype")
    assert model.categories_[0].tolist() == [0, 10, 20, 30, 40, 50, 60]
    expected = model.predict_proba([f.astype({"kind": "category"}) for f in made])
    np.testing.assert_array_equal(model.predict_proba(made), expected)
    longest = max(made, key=len)
    stream = model.stream(method="predict_proba")
    answers = [stream.step(row) for row in longest.to_numpy()]
    np.testing.assert_array_equal(answers[-1], model.predict_proba([longest])[0])


def test_frames_in_another_order_or_of_other_widths():
    model, made = fitted(frames(), categorical_features=["kind"]), frames()
    with pytest.raises(ValueError, match=r"sequence 0: The feature names should match"):
        model.predict([frame[["amount", "kind", "place"]] for frame in made])
    with pytest.raises(ValueError, match="sequence 1 has 2 features, expected 3"):
        fitted([made[0], made[1][["kind", "amount"]]], [0, 1], categorical_features=["kind"])
    with pytest.raises(ValueError, match=r"sequence 1 has shape \(4,\), expected"):
        fitted([np.ones((2, 3), int), np.ones(4, int)], [0, 1])


def test_strings_in_arrays_of_objects():
    words = [np.array([[LETTERS[k], f"-{k % 2}"] for k in text], object) for text in TEXTS]
    model = fitted(words)
    assert [values.tolist() for values in model.categories_] == [LETTERS[:7].tolist(), ["-0", "-1"]]
    assert model.predict([np.array([["a", "-9"]])]).shape == (1,)


def test_a_table_with_a_row_for_each_event():
    table = pd.concat([frame.assign(id=i, t=range(len(frame))) for i, frame in enumerate(frames())])
    table["kind"] = table["kind"].astype("category")
    X, _, _ = from_long_frame(table, "id", "t", ["kind", "amount", "place"])
    assert X[0][0, 0] == 1 + table["kind"].cat.categories.get_loc(table["kind"].iloc[0])
    assert fitted(X, categorical_features=[0, 2]).n_tokens_ == [8, 3]
    table.loc[table.index[0], "kind"] = np.nan
    assert from_long_frame(table, "id", "t", ["kind"])[0][0][0] == 0


def test_tokens_in_2d_rows():
    """Steps of several columns, newest first: the layout of 2-D X holds for tokens."""
    steps = rng.integers(0, 5, (12, 3, 2))
    y = [0, 1] * 6
    rows = steps[:, ::-1].reshape(12, 6)
    model = fitted(rows, y, features_per_step=2, newest_first=True)
    np.testing.assert_array_equal(model.predict_proba(rows), fitted(steps, y).predict_proba(steps))
    beside = np.column_stack([steps[:, :, 0], rng.random((12, 1))])
    static = fitted(beside, y, categorical_features=[0], static_columns=[3])
    assert (static.n_tokens_, static._n_numbers) == ([steps[:, :, 0].max() + 1], 1)


# --- vectors that are given ---------------------------------------------------------------------------
def test_vectors_that_are_given():
    vectors = rng.standard_normal((9, 3)).astype(np.float32)
    model = fitted(embedding_size="auto", embedding_weights=vectors, freeze_embedding=True)
    np.testing.assert_array_equal(model.weights_["embedding.weight"], vectors)
    moved = fitted(embedding_weights=vectors)
    assert moved.n_tokens_ == [9]
    assert not np.array_equal(moved.weights_["embedding.weight"][1:7], vectors[1:7])
    several = fitted(EVENTS, embedding_size=3, categorical_features=[0, 2], embedding_weights=[vectors, None])
    assert several.n_tokens_ == [9, 3]
    encoder = TokenEncoder().fit(["a b c", "a b"])
    table = encoder.vectors({"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [1.0, 1.0]})
    X = encoder.transform(["a b", "c b"])
    model = fitted(X, [0, 1], embedding_size=2, embedding_weights=table, freeze_embedding=True)
    np.testing.assert_array_equal(model.weights_["embedding.weight"], table)


def test_a_frozen_table_neither_moves_nor_decays():
    start = rng.standard_normal((7, 3)).astype(np.float32)
    for solver in ("adam", "adamw", "sgd", "rmsprop"):
        model = fitted(embedding_weights=start, freeze_embedding=True, solver=solver, alpha=0.5, max_iter=3)
        np.testing.assert_array_equal(model.weights_["embedding.weight"], start, err_msg=solver)
        model.partial_fit(TEXTS, Y)
        np.testing.assert_array_equal(model.weights_["embedding.weight"], start, err_msg=solver)


# --- mistakes -----------------------------------------------------------------------------------------
VECTORS = np.zeros((7, 3))
BAD = {
    "a text": ("good film", r"X is a text, 'good film': pass a list of texts"),
    "texts": (["good film", "bad film"], r"X\[0\] is a text, 'good film': .*TokenEncoder"),
    "a text among tokens": ([[1, 2], "bad"], r"X\[1\] is a text, 'bad'"),
    "array of texts": (np.array(["good", "bad"]), "X holds texts: .*TokenEncoder"),
    "words": ([["good", "film"], ["bad"]], r"X\[0\] holds strings, 'good' first: .*analyzer=.tokens"),
    "one sequence": (
        [1, 2, 3],
        r"X\[0\] is 1, and no sequence of tokens: one sequence alone is passed as \[X\]",
    ),
    "negative": ([[1, 2], [3, -1]], "sequence 1, step 1: -1 is no token"),
    "float": ([[1, 2], [3, 0.5]], "sequence 1 holds float64, .* first: tokens are integers"),
    "float array": (np.ones((2, 3)), "sequence 0 holds float64"),
    "bool": ([[True, False], [True]], "sequence 0 holds bool"),
    "None": ([[1, None], [1]], "sequence 0 holds object"),
    "masked": ([np.ma.array([1, 2], mask=[0, 1]), [1]], "sequence 0 is a masked array; cut what is padding"),
    "Series of texts": (pd.Series(["good film", "bad"]), "X holds texts, 'good film' first: .*TokenEncoder"),
    "frame of texts": (pd.DataFrame({"text": ["good film", "bad"]}), "X holds texts, 'good film' first"),
    "huge": ([[2**40], [1]], "sequence 0, step 0: 1099511627776 is no token"),
    "no sequences": ([], "no sequences"),
    "float features": (EVENTS[:2], "X holds float64: name those that are tokens in categorical_features"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_named(case):
    X, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        fitted(X, [0, 1])


BAD_EVENTS = {
    "half": ([[0.5, 1, 1]], "sequence 0, step 0: 0.5 in feature 0 is no token"),
    "negative": ([[1, 1, 1], [1, 1, -2]], "sequence 0, step 1: -2 in feature 2 is no token"),
    "NaN": ([[np.nan, 1, 1]], "sequence 0 contains NaN at step 0"),
    "too large": ([[1, 1e300, 1]], "sequence 0, step 0: a value too large for float32 in feature 1"),
}


@pytest.mark.parametrize("case", BAD_EVENTS)
def test_mistakes_in_features_are_named(case):
    X, message = BAD_EVENTS[case]
    model = fitted(EVENTS, categorical_features=[0, 2])
    for method in (model.predict, lambda X: model.fit(X, [0])):
        with pytest.raises(ValueError, match=message):
            method([np.array(X)])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"categorical_features": [5]}, "there is no feature 5, steps have 3"),
        ({"categorical_features": [0, -3]}, "names a feature twice"),
        ({"categorical_features": [True, False]}, "mask of 2 features, but steps have 3"),
        ({"categorical_features": ["kind"]}, "'kind' is not known: X's features have no names"),
        ({"categorical_features": []}, "names no feature"),
        ({"categorical_features": [[0]]}, "must be a list of features"),
        ({"categorical_features": "from_dtype"}, "no frames of pandas with categorical columns"),
        ({"categorical_features": [0, 2], "n_tokens": [5]}, "1 values for 2 columns"),
        (
            {"categorical_features": [0, 2], "n_tokens": [7, 0]},
            r"n_tokens\[1\] must be an integer",
        ),
        (
            {"categorical_features": [0], "n_tokens": 4},
            "5 of feature 0 is beyond the table, whose tokens are 0 to 3",
        ),
        (
            {"categorical_features": [0], "embedding_size": [None]},
            r"embedding_size\[0\] must be an int",
        ),
        ({"categorical_features": [0], "embedding_weights": VECTORS[:, :2]}, "ask for .7, 3."),
        ({"categorical_features": [0], "embedding_weights": [VECTORS] * 2}, "2 tables for 1 columns"),
        (
            {"categorical_features": [0], "embedding_weights": VECTORS[0]},
            "of shape .n_tokens, embedding_size.",
        ),
        ({"categorical_features": [0], "embedding_weights": VECTORS + np.nan}, "NaN or infinity in row 0"),
        ({"categorical_features": [0, 2], "n_tokens": ["auto", 3]}, r"n_tokens\[0\] must be an integer"),
        (
            {"categorical_features": [0], "embedding_weights": [[[1, 2], [1]]]},
            "embedding_weights.*be read as an",
        ),
        ({"categorical_features": [0], "embedding_weights": VECTORS + 1e39}, "a value too large for float32"),
        ({"n_tokens": 7, "embedding_size": None}, "n_tokens needs embedding_size"),
        ({"categorical_features": [0], "embedding_size": None}, "categorical_features needs embedding_size"),
        ({"embedding_weights": VECTORS, "embedding_size": None}, "embedding_weights needs embedding_size"),
    ],
)
def test_parameters_that_do_not_fit(parameters, message):
    with pytest.raises(ValueError, match=message):
        fitted(EVENTS, **parameters)


def test_tokens_beyond_the_table():
    model = fitted()
    message = (
        "sequence 1, step 2: token 7 is beyond the table, whose tokens are 0 to 6. .*same encoder; n_tokens"
    )
    for call in (model.predict, lambda X: model.partial_fit(X, [0, 1])):
        with pytest.raises(ValueError, match=message):
            call([[1], [1, 2, 7]])
    with pytest.raises(ValueError, match=f"X_val: {message}"):
        model.fit(TEXTS, Y, X_val=[[1], [1, 2, 7]], y_val=[0, 1])
    assert fitted(n_tokens=8).predict([[1, 2, 7]]).shape == (1,)


def test_another_kind_of_x():
    model, steps = fitted(), fitted(EVENTS, categorical_features=[0, 2])
    with pytest.raises(ValueError, match=r"was fitted on tokens .*, but X is now sequences"):
        model.predict([np.zeros((3, 1), int)])
    with pytest.raises(ValueError, match=r"was fitted on sequences .*, but X is now tokens"):
        steps.predict(TEXTS)
    with pytest.raises(ValueError, match=r"X has 2 features, but .* is expecting 3"):
        steps.predict([EVENTS[0][:, :2]])


def test_labels_of_the_wrong_length():
    y = [text % 2 for text in TEXTS]
    y[3] = y[3][:-1]
    message = rf"y\[3\] has {len(y[3])} steps, sequence 3 has {len(TEXTS[3])}"
    with pytest.raises(ValueError, match=message):
        fitted(y=y, return_sequences=True)


def test_tokens_far_apart_are_told():
    X = [[1, 2], [200_000]]
    with pytest.warns(UserWarning, match="X has 3 different tokens, up to 200000"):
        fitted(X, [0, 1], embedding_size=1, hidden_size=1)


def test_numbers_are_read_as_before():
    """Without embedding_size nothing is a token."""
    with pytest.raises(ValueError, match=r"1-D arrays is read as 2-D X.*tokens need embedding_size"):
        RNNRegressor().fit([[1, 2], [1]], [0.0, 1.0])


def test_large_tokens_do_not_lose_digits():
    """Numbers beside them become float32, which could not hold them."""
    numbers, tokens = numbers_and_tokens(
        np.array([[2.0**24 + 1, 0.5]]), Categories((0,), 2, (None,), False), np.dtype(np.float32)
    )
    assert tokens.tolist() == [[2**24 + 1]]
    assert numbers.tolist() == [[0.5]]

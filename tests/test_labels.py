"""Sets of labels of any two values, `classes`, and class weights."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_sample_weight

from skrnn import GRUClassifier, LSTMClassifier, RNNClassifier
from skrnn.estimators.labels import two_values
from skrnn.sequences import object_array

RNG = np.random.default_rng(0)
X0 = RNG.standard_normal((40, 5, 2))
SETS = (X0[:, -2:, 0] > 0).astype(int)  # (40, 2)
STEPS = (X0 > 0).astype(int)  # (40, 5, 2)

CODES = {
    "-1/1": np.array([-1, 1]),
    "1/2": np.array([1, 2]),
    "0/255": np.array([0, 255], np.uint8),
    "1.0/3.0": np.array([1.0, 3.0], np.float32),
    "bool": np.array([False, True]),
    "strings": np.array(["no", "yes"]),
    "objects": np.array(["no", "yes"], object),
    "0/1": np.array([0, 1]),
    "a pair for each": np.array([[0, 1], [1, 2]]),
    "text and numbers": np.array([["no", "yes"], [3, 7]], object),
}


def short(cls=GRUClassifier, **options):
    return cls(**{"hidden_size": 4, "max_iter": 3, "random_state": 0, "dtype": "float64"} | options)


def coded(sets, pairs):
    """Sets of 0 and 1 with the values of `pairs`, (2,) for all columns or (n_labels, 2)."""
    pairs = np.broadcast_to(pairs, (sets.shape[-1], 2))
    return pairs[np.arange(len(pairs)), sets]


def flat(answers):
    ragged = answers.dtype == object and answers.ndim == 1
    return np.concatenate(list(answers)) if ragged else answers.reshape(-1, answers.shape[-1])


def same_weights(one, other):
    for name, w in one.weights_.items():
        np.testing.assert_array_equal(other.weights_[name], w, err_msg=name)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("form", ["sequence", "steps", "ragged"])
def test_any_two_values_are_learnt_and_given_back(code, form):
    """Just as 0 and 1 are; the oracle is the network trained on these."""
    X, sets = (X0, SETS) if form == "sequence" else (X0, STEPS)
    y = coded(sets, CODES[code])
    if form == "ragged":
        X, y, sets = (object_array([a[: 2 + i % 4] for i, a in enumerate(part)]) for part in (X, y, sets))
    options = dict(return_sequences=form != "sequence", early_stopping=True, warm_start=True)
    plain, est = short(**options).fit(X, sets), short(**options).fit(X, y)
    assert est.loss_ > 0
    for _ in range(2):  # the second time from a warm start
        same_weights(plain, est)
        assert est.validation_scores_ == plain.validation_scores_
        np.testing.assert_array_equal(est.classes_, [0, 1])
        expected = coded(flat(plain.predict(X)), CODES[code])
        predicted = flat(est.predict(X))
        assert predicted.dtype == expected.dtype
        np.testing.assert_array_equal(predicted, expected)
        np.testing.assert_array_equal(flat(est.predict_proba(X)), flat(plain.predict_proba(X)))
        larger = flat(est.predict_proba(X)) > 0.5
        np.testing.assert_array_equal(predicted == est.label_values_[:, 1], larger)
        assert est.score(X, y) == plain.score(X, sets) == accuracy_score(flat(sets), flat(plain.predict(X)))
        est.fit(X, y, X_val=X[:9], y_val=y[:9])
        plain.fit(X, sets, X_val=X[:9], y_val=sets[:9])
    same_weights(plain.partial_fit(X, sets), est.partial_fit(X, y))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(est)).predict(X)[0], est.predict(X)[0])


def test_a_frame_of_labels():
    frame = pd.DataFrame({"rain": np.where(SETS[:, 0], "wet", "dry"), "wind": SETS[:, 1] == 1})
    est = short().fit(X0, frame)
    assert est.label_values_.tolist() == [["dry", "wet"], [False, True]]
    same_weights(short().fit(X0, SETS), est)
    assert set(est.predict(X0)[:, 0]) <= {"dry", "wet"}


def test_the_two_values_of_columns_with_one():
    """The pair that the others share; 0 and 1; or the value itself."""
    for columns, expected in [
        ([[-1, 1], [1, 1]], [[-1, 1], [-1, 1]]),
        ([[-1, 1], [-1, -1]], [[-1, 1], [-1, 1]]),
        ([[0, 255], [255, 255]], [[0, 255], [0, 255]]),
        ([[0, 1], [1, 1]], [[0, 1], [0, 1]]),
        ([[0, 0], [0, 0]], [[0, 1], [0, 1]]),
        ([[1, 1], [1, 1]], [[0, 1], [0, 1]]),
        ([[-1, -1], [1, 1]], [[-1, 1], [-1, 1]]),
        ([[2, 2], [2, 2]], [[2, 2], [2, 2]]),
        ([[0, 1], [5, 5]], [[0, 1], [5, 5]]),
        ([[0, 1], [1, 2], [1, 1]], [[0, 1], [1, 2], [0, 1]]),
        ([[0, 1], [1, 2], [2, 2]], [[0, 1], [1, 2], [2, 2]]),
        ([[True, True], [False, True]], [[False, True], [False, True]]),
        ([["no", "yes"], ["yes", "yes"]], [["no", "yes"], ["no", "yes"]]),
        ([["a", "a"], ["b", "b"]], [["a", "b"], ["a", "b"]]),
    ]:
        assert two_values(np.array(columns).T).tolist() == expected


@pytest.mark.parametrize("value", [2, 255, -1.0, "there", 0, 1])
def test_columns_that_are_all_the_same(value):
    est = short(max_iter=60, learning_rate_init=0.1).fit(X0, np.full((40, 2), value))
    assert est.loss_ > 0
    assert set(est.predict(X0).ravel().tolist()) == {value}
    assert est.score(X0, np.full((40, 2), value)) == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_value_without_another_is_predicted_whatever_the_network_says(seed):
    y = np.full((40, 2), 7)
    est = short(learning_rate_init=1e-9, random_state=seed, early_stopping=True).fit(X0, y)
    assert (est.predict(X0) == 7).all()
    assert est.score(X0, y) == est.best_validation_score_ == 1


def test_values_that_were_not_there_are_named_with_column_and_place():
    y = coded(SETS, CODES["-1/1"])
    est = short(warm_start=True).fit(X0, y)
    bad = y.copy()
    bad[3, 1] = 0
    message = r"\[3\] holds 0 in column 1, which was -1 or 1 in the first fit"
    before = est.predict_proba(X0)
    for call in (est.fit, est.partial_fit, est.score):
        with pytest.raises(ValueError, match="y" + message):
            call(X0, bad)
        with pytest.raises(ValueError, match="y has 3 columns of labels, expected 2"):
            call(X0, np.column_stack([y, y[:, 0]]))
        with pytest.raises(ValueError, match="y is of another kind"):
            call(X0, y[:, 0])
    with pytest.raises(ValueError, match="y_val" + message):
        est.fit(X0, y, X_val=X0, y_val=bad)
    with pytest.raises(ValueError, match=r"y\[0\] holds 'no' in column 0, which was -1 or 1"):
        est.score(X0, np.full((40, 2), "no"))
    np.testing.assert_array_equal(est.predict_proba(X0), before)
    steps = short(return_sequences=True).fit(X0, STEPS)
    bad = STEPS.copy()
    bad[3, 2, 1] = 2
    with pytest.raises(ValueError, match=r"y\[3\] at step 2 holds 2 in column 1, which was 0 or 1"):
        steps.score(X0, bad)
    one = short().fit(X0, np.full((40, 2), 7))
    with pytest.raises(ValueError, match="holds 8 in column 1, which was 7 in the first fit"):
        one.score(X0, np.full((40, 2), [7, 8]))


def test_columns_that_are_no_labels():
    three = SETS.copy()
    three[5, 1] = 2
    for y, message in [
        (three[:, 1:].repeat(2, axis=1)[:, :2], "column 0 holds more than two values"),
        (three, r"y has 2 columns but is not multilabel: column 1 holds more than two values \(0, 1, 2\)"),
        (np.where(SETS, 0.5, 1.5), "Unknown label type: continuous"),
        (np.array([["a", 1], [1, 0]] * 20, object), "strings and numbers in column 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            short().fit(X0, y)


def test_unlabelled_rows_of_label_sets_may_hold_anything():
    w = np.ones(40)
    w[::5] = 0
    expected = short().fit(X0, coded(SETS, CODES["-1/1"]), w)
    for kind, standing in (float, np.nan), (int, 77), (object, None):
        y = coded(SETS, CODES["-1/1"]).astype(kind)
        y[w == 0] = standing
        est = short().fit(X0, y, w)
        same_weights(expected, est)
        assert est.label_values_.tolist() == [[-1, 1], [-1, 1]]
        assert est.score(X0, y, w) == expected.score(X0, coded(SETS, CODES["-1/1"]), w)


def test_a_new_fit_on_classes_forgets_the_sets():
    est = short().fit(X0, SETS).fit(X0, SETS[:, 0])
    assert est.label_values_ is None
    assert est.predict(X0).shape == (40,)


# classes of partial_fit ----------------------------------------------------------------------------


def test_classes_of_label_sets():
    est = short().partial_fit(X0, SETS, classes=["wind", "rain"])  # names of the columns, in their order
    assert est.classes_.tolist() == ["wind", "rain"]
    assert est.label_values_.tolist() == [[0, 1], [0, 1]]
    est.partial_fit(X0, SETS, classes=["wind", "rain"]).partial_fit(X0, SETS)
    pairs = [[-1, 1], [1, 2]]
    est = short().partial_fit(X0[:1], [[-1, 2]], classes=pairs)  # a first y that lacks values
    assert est.label_values_.tolist() == pairs
    assert est.classes_.tolist() == [0, 1]
    est.partial_fit(X0, coded(SETS, pairs), classes=[[1, -1], [2, 1]])
    for classes, message in [
        ([0, 1, 2], "do not fit y, which holds sets of 2 labels: pass a name for each of its 2 columns"),
        (["rain"], "do not fit y"),
        (["rain", "rain"], "do not fit y"),
        ([[0, 1]], "do not fit y"),
        ([[0, 1], [1, 1]], "two different values for each column"),
        ([[0, 1], [1, 2]], "holds 0 in column 1, which was 1 or 2"),
    ]:
        fresh = short()
        with pytest.raises(ValueError, match=message):
            fresh.partial_fit(X0, SETS, classes=classes)
        assert vars(fresh) == vars(short())
    for classes in ([0, 2], [1, 0], [[0, 1], [1, 2]], [0]):
        est = short().partial_fit(X0, SETS, classes=[0, 1])
        with pytest.raises(ValueError, match="are not those of the first call"):
            est.partial_fit(X0, SETS, classes=classes)
    for classes, message in [([[0, 1], [0, 1]], "must be a list of classes"), ([1], "at least 2 classes")]:
        with pytest.raises(ValueError, match=message):
            short().partial_fit(X0, SETS[:, 0], classes=classes)


# Class weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["-1/1", "bool", "strings", "a pair for each", "text and numbers"])
@pytest.mark.parametrize("balanced", [False, True])
def test_class_weights_of_label_sets_go_by_their_values(code, balanced):
    y = coded(SETS, CODES[code])
    pairs = np.broadcast_to(CODES[code], (2, 2)).tolist()
    weights = "balanced" if balanced else [{pairs[0][1]: 5.0}, {pairs[1][0]: 0.5, pairs[1][1]: 2.0}]
    of_codes = "balanced" if balanced else [{1: 5.0}, {0: 0.5, 1: 2.0}]
    w = np.random.default_rng(1).uniform(0.5, 2, 40)
    one = short(class_weight=weights).fit(X0, y, w)
    other = short().fit(X0, y, w * compute_sample_weight(of_codes, SETS))
    for name, value in one.weights_.items():
        np.testing.assert_allclose(other.weights_[name], value, rtol=1e-9, atol=1e-12)
    assert abs(short().fit(X0, y, w).loss_ - one.loss_) > 1e-4


def test_class_weights_that_do_not_fit_label_sets():
    for weights, message in [
        ({0: 1.0, 1: 2.0}, "class_weight should be a list of dicts"),
        ([{0: 1.0}], "1 dicts for 2 columns of label sets"),
        ([{0: -1.0}, {0: 1.0}], "finite and not negative"),
    ]:
        with pytest.raises(ValueError, match=message):
            short(class_weight=weights).fit(X0, SETS)


@pytest.mark.parametrize("cls", [RNNClassifier, LSTMClassifier])
@pytest.mark.parametrize("per_step", [False, True])
def test_balanced_over_the_classes_that_are_there(cls, per_step):
    """A warm start that lacks a class: as if the weights, of those that are there, were passed."""
    y = np.arange(40) % 3
    later = np.where(np.arange(40) < 10, 0, 2)
    if per_step:
        y, later = (np.repeat(labels[:, None], 5, axis=1) for labels in (y, later))
    options = dict(return_sequences=per_step, warm_start=True)
    one = short(cls, class_weight="balanced", **options).fit(X0, y)
    other = short(cls, **options).fit(X0, y, compute_sample_weight("balanced", y.ravel()).reshape(y.shape))
    one.fit(X0, later)
    other.fit(X0, later, compute_sample_weight("balanced", later.ravel()).reshape(y.shape))
    for name, value in one.weights_.items():
        np.testing.assert_allclose(other.weights_[name], value, rtol=1e-9, atol=1e-12)
    assert one.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("sets", [False, True])
def test_balanced_is_over_what_has_a_weight(sets):
    y = np.random.default_rng(2).integers(0, 2, (40, 2) if sets else 40)
    w = (np.arange(40) % 3 > 0).astype(float)
    by_hand = np.zeros(40)
    by_hand[w > 0] = compute_sample_weight("balanced", y[w > 0])
    one, other = short(class_weight="balanced").fit(X0, y, w), short().fit(X0, y, by_hand)
    for name, value in one.weights_.items():
        np.testing.assert_allclose(other.weights_[name], value, rtol=1e-9, atol=1e-12)


def test_balanced_where_a_class_is_only_held_back():
    """The weights are those of what is trained on: 36 sequences, 24 of one class and 12 of another."""
    y = np.where(np.arange(40) < 36, np.arange(40) % 3 == 0, 2)
    options = dict(early_stopping=True, validation_split="last")
    est = short(class_weight="balanced", **options).fit(X0, y)
    other = short(class_weight={0: 36 / (2 * 24), 1: 36 / (2 * 12), 2: 9.0}, **options).fit(X0, y)
    same_weights(other, est)
    assert est.validation_scores_ == other.validation_scores_

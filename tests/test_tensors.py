"""Tensors on the CPU, as X, y, weights and classes, with scikit-learn's array API dispatch and without."""

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV, cross_val_score

from skrnn import GRUClassifier, GRURegressor
from skrnn.estimators.devices import to_host

torch = pytest.importorskip("torch")
X0 = np.random.default_rng(0).standard_normal((24, 4, 2))
W0 = np.random.default_rng(1).uniform(0.5, 2, 24)
TARGETS = {
    "numbers": (GRURegressor, X0[:, 0, 0], {}),
    "two columns": (GRURegressor, X0[:, 0], {}),
    "booleans": (GRUClassifier, X0[:, 0, 0] > 0, {}),
    "classes": (GRUClassifier, np.arange(24) % 3, {}),
    "sets": (GRUClassifier, np.where(X0[:, 0] > 0, 1, -1), {}),
    "numbers per step": (GRURegressor, X0[:, :, 0], {"return_sequences": True}),
    "classes per step": (GRUClassifier, (X0[:, :, 0] > 0).astype(int), {"return_sequences": True}),
}
FORMS = {"3-D": X0, "rows": X0.reshape(24, 8), "list": list(X0)}


@pytest.fixture
def _dispatch(monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with sklearn.config_context(array_api_dispatch=True):
        yield


def tensor(a):
    return [torch.tensor(item) for item in a] if isinstance(a, list) else torch.tensor(a)


def short(cls, **options):
    options = {"random_state": 0, "features_per_step": 2, "dtype": "float64"} | options
    return cls(**{"hidden_size": 3, "max_iter": 2} | options)


def same(one, other):
    assert isinstance(one, np.ndarray)
    if one.dtype == object:
        one, other = np.concatenate(list(one)), np.concatenate(list(other))
    np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("_dispatch")
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("form", FORMS)
def test_tensors_are_read_as_arrays_are(kind, form):
    cls, y, options = TARGETS[kind]
    X, W = FORMS[form], W0
    if "per step" in kind:
        W = np.repeat(W0[:, None], 4, axis=1)
    with sklearn.config_context(array_api_dispatch=False):
        expected = short(cls, early_stopping=True, **options).fit(X, y, W)
        answers = [
            getattr(expected, method)(X)
            for method in ("predict", "predict_proba", "decision_function", "hidden_states")
            if hasattr(expected, method)
        ]
        score = expected.score(X, y, W)
    for target, weight in [
        (tensor(y), tensor(W)),
        (list(tensor(y)), list(tensor(W))),
        (torch.tensor(y * 1.0, requires_grad=True), torch.tensor(W, requires_grad=True)),
    ]:
        est = short(cls, early_stopping=True, **options).fit(tensor(X), target, weight)
        assert est.validation_scores_ == expected.validation_scores_
        assert est.score(tensor(X), target, weight) == score
        if isinstance(target, list) or not target.requires_grad:
            names = ("predict", "predict_proba", "decision_function", "hidden_states")
            given = [getattr(est, name)(tensor(X)) for name in names if hasattr(est, name)]
            for one, other in zip(given, answers, strict=True):
                same(one, other)
    if form != "list":
        same(expected.predict(torch.tensor(X, requires_grad=True)), answers[0])
    est = short(cls, **options)
    classes = {"classes": tensor(np.unique(y))} if kind in ("booleans", "classes", "classes per step") else {}
    classes |= {"classes": torch.arange(2)} if kind == "sets" else {}
    est.partial_fit(tensor(X), tensor(y), sample_weight=tensor(W), **classes)
    est.fit(tensor(X), tensor(y), X_val=tensor(X), y_val=tensor(y), sample_weight_val=tensor(W))
    assert est.validation_scores_[-1] == pytest.approx(est.score(X, y, W), abs=1e-12)


def test_tensors_without_the_setting():
    for cls, y, options in TARGETS.values():
        expected = short(cls, **options).fit(X0, y)
        same(short(cls, **options).fit(tensor(X0), tensor(y)).predict(tensor(X0)), expected.predict(X0))


@pytest.mark.usefixtures("_dispatch")
@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_tensors_in_searches(kind):
    cls, y, _ = TARGETS[kind]
    scores = cross_val_score(short(cls), tensor(X0), tensor(y), cv=3, error_score="raise")
    with sklearn.config_context(array_api_dispatch=False):
        np.testing.assert_array_equal(scores, cross_val_score(short(cls), X0, y, cv=3))
    search = GridSearchCV(short(cls), {"hidden_size": [2]}, cv=2, error_score="raise").fit(
        tensor(X0), tensor(y)
    )
    same(search.predict(tensor(X0)), search.best_estimator_.predict(X0))


def test_what_is_brought_to_the_host():
    for given in (torch.arange(3.0), torch.arange(3.0, requires_grad=True)):
        np.testing.assert_array_equal(to_host(given), np.arange(3.0))
        assert type(to_host([given])[0]) is np.ndarray
    for given in (None, 1.0, "a", [1, 2], X0, [X0], [None, 1], np.float64(3)):
        assert to_host(given) is given


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_types_that_numpy_has_not():
    est = short(GRURegressor).fit(X0, X0[:, 0, 0])
    half = torch.tensor(X0).bfloat16()
    packed = torch.nn.utils.rnn.pack_sequence(list(half))
    nested = torch.nested.nested_tensor(list(half))
    message = r"NumPy cannot read a Tensor of torch.bfloat16 .* convert it first, bfloat16 .* by X.float\(\)"
    for X in half, list(half), half.reshape(24, 8), packed, nested:
        with pytest.raises(ValueError, match=message):
            est.predict(X)
    with pytest.raises(ValueError, match=message):
        est.fit(X0, half[:, 0, 0])
    stream = est.stream()
    with pytest.raises(ValueError, match=message):
        stream.step(half[0, 0])
    assert stream.step(torch.tensor(X0[0, 0], requires_grad=True)) == est.predict(X0[:1, :1])[0]

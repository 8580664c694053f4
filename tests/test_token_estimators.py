"""Estimators on sequences of tokens: whatever else they can do, they can do with these."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline

from skrnn import GRUClassifier, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from skrnn.text import TokenEncoder

rng = np.random.default_rng(0)
TOKENS = [rng.integers(0, 9, n) for n in rng.integers(1, 12, 60)]
EVENTS = [np.column_stack([t, rng.random(len(t)), t % 3]) for t in TOKENS]
LABELS = np.array([int((text == 3).any()) for text in TOKENS])
TAGS = [text % 3 for text in TOKENS]
WORDS = np.array(["the", "a", "good", "bad", "film", "play", "very", "not", "at", "all"])
TEXTS = [" ".join(WORDS[rng.integers(0, 10, n)]) for n in rng.integers(1, 9, 60)]
MOODS = np.array(["good" in text.split() for text in TEXTS])
KINDS = {"tokens": (TOKENS, {}), "events": (EVENTS, {"categorical_features": [0, 2]})}


def model(cls=LSTMClassifier, **parameters):
    given = {"hidden_size": 8, "embedding_size": 5, "max_iter": 3, "random_state": 0}
    return cls(**given | parameters)


def equal_weights(one, other):
    assert one.weights_.keys() == other.weights_.keys()
    for name, array in one.weights_.items():
        np.testing.assert_array_equal(other.weights_[name], array, err_msg=name)


# --- they learn -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("cls", [RNNClassifier, LSTMClassifier, GRUClassifier])
def test_it_finds_a_token(cls):
    fitted = model(cls, hidden_size=16, max_iter=60, learning_rate_init=1e-2).fit(TOKENS, LABELS)
    assert fitted.score(TOKENS, LABELS) > 0.97


def test_tags_of_tokens():
    fitted = model(return_sequences=True, max_iter=40, learning_rate_init=1e-2).fit(TOKENS, TAGS)
    assert fitted.score(TOKENS, TAGS) == 1


def test_numbers_of_tokens():
    y = np.array([text.sum() for text in TOKENS]) / 20.0
    fitted = model(LSTMRegressor, max_iter=80, learning_rate_init=1e-2, pooling="mean").fit(TOKENS, y)
    assert fitted.score(TOKENS, y) > 0.9


# --- the same bits ----------------------------------------------------------------------------------------
OPTIONS = {
    "masks": {"dropout": 0.2, "num_layers": 2, "embedding_dropout": 0.2, "head_dropout": 0.3},
    "both directions": {"bidirectional": True, "pooling": "max"},
    "attention": {"pooling": "attention"},
    "float64": {"dtype": "float64", "solver": "sgd"},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.3},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS)
def test_threads_do_not_change_bits(kind, options):
    X, features = KINDS[kind]
    one, two = (model(n_jobs=n, **OPTIONS[options], **features).fit(X, LABELS) for n in (1, 2))
    equal_weights(one, two)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


@pytest.mark.parametrize("kind", KINDS)
def test_others_in_the_batch_do_not_change_an_answer(kind):
    X, features = KINDS[kind]
    fitted = model(bidirectional=True, **features).fit(X, LABELS)
    together, order = fitted.predict_proba(X), rng.permutation(len(X))
    np.testing.assert_array_equal(fitted.predict_proba([X[i] for i in order]), together[order])
    alone = np.concatenate([fitted.predict_proba([x]) for x in X])
    np.testing.assert_array_equal(alone, together)


# --- what else there is -----------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per_step", [False, True])
def test_streams_answer_as_predict_does(kind, per_step):
    X, features = KINDS[kind]
    fitted = model(return_sequences=per_step, tbptt_steps=4, **features).fit(X, TAGS if per_step else LABELS)
    stream, longest = fitted.stream(method="predict_proba"), max(X, key=len)
    answers = [stream.step(step) for step in longest]
    expected = fitted.predict_proba([longest])[0]
    np.testing.assert_array_equal(answers if per_step else answers[-1], expected)
    two = fitted.stream(batch=2).step(longest[:2])
    np.testing.assert_array_equal(two, np.ravel([fitted.predict([row[None]])[0] for row in longest[:2]]))
    half = len(longest) // 2
    first, state = fitted.predict_with_state([longest[:half]])
    rest, _ = fitted.predict_with_state([longest[half:]], state)
    whole = fitted.predict([longest])
    np.testing.assert_array_equal(
        np.concatenate([first[0], rest[0]]) if per_step else rest, whole[0] if per_step else whole
    )


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (9, "sequence 0, step 0: token 9 is beyond the table, whose tokens are 0 to 8"),
        (-1, "sequence 0: -1 in feature 0 is no token"),
        (0.5, "sequence 0: 0.5 in feature 0 is no token"),
        ([1, 2], r"x has shape \(2,\), expected \(batch,\) = \(1,\)"),
    ],
)
def test_a_stream_refuses_what_is_no_token(step, message):
    stream = model().fit(TOKENS, LABELS).stream()
    stream.step(1)
    before = stream.state
    with pytest.raises(ValueError, match=message):
        stream.step(step)
    np.testing.assert_array_equal(stream.state, before)


def test_a_stream_says_what_is_no_number():
    stream = model(categorical_features=[0, 2]).fit(EVENTS, LABELS).stream()
    with pytest.raises(ValueError, match="sequence 0: NaN in feature 1"):
        stream.step([1, np.nan, 2])
    with pytest.raises(ValueError, match="sequence 0, step 0: token 3 of feature 2 is beyond the table"):
        stream.step([1, 0.5, 3])


def test_a_stream_of_values():
    frames = [np.array([[WORDS[k], "x" if k % 2 else "y"] for k in text], object) for text in TOKENS]
    fitted = model().fit(frames, LABELS)
    stream = fitted.stream(method="predict_proba")
    answers = [stream.step(row) for row in frames[0]]
    np.testing.assert_array_equal(answers[-1], fitted.predict_proba(frames[:1])[0])


@pytest.mark.parametrize("kind", KINDS)
def test_training_goes_on(kind):
    X, features = KINDS[kind]
    twice = model(warm_start=True, **features).fit(X, LABELS).fit(X, LABELS)
    assert twice.n_iter_ == 6
    for fitted in (twice, model(**features).fit(X, LABELS)):
        other = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
        equal_weights(other.partial_fit(X, LABELS), fitted.partial_fit(X, LABELS))
    assert clone(twice).get_params() == twice.get_params()


@pytest.mark.parametrize("kind", KINDS)
def test_tables_do_not_change_where_training_goes_on(kind):
    X, features = KINDS[kind]
    fitted = model(warm_start=True, **features).fit(X, LABELS)
    for given, message in (
        ({"embedding_size": 64}, r"embedding_size=64, but training goes on from a fit with \[5"),
        ({"n_tokens": 500}, r"n_tokens=500, but training goes on from a fit with \[9"),
    ):
        for train in (fitted.fit, fitted.partial_fit):
            fitted.set_params(**given)
            with pytest.raises(ValueError, match=message):
                train(X, LABELS)
            fitted.set_params(embedding_size=5, n_tokens=None)
    if kind == "tokens":
        with pytest.raises(
            ValueError, match="embedding_size=None, but training goes on from a fit with vectors"
        ):
            fitted.set_params(embedding_size=None).fit(X, LABELS)


@pytest.mark.parametrize("kind", KINDS)
def test_lazy_updates_leave_the_vectors_of_other_tokens(kind):
    """With dense ones Adam's momentum and the decay move them."""
    X, features = KINDS[kind]
    name = "embedding.weight" if kind == "tokens" else "embedding_0.weight"
    lazy, dense = (model(embedding_updates=how, **features).fit(X, LABELS) for how in ("lazy", "dense"))
    own, rest = [x for x in X if not (x.reshape(len(x), -1)[:, 0] == 7).any()], lazy.weights_[name][7].copy()
    others = dense.weights_[name][7].copy()
    for fitted in (lazy, dense):
        fitted.partial_fit(own[:5], LABELS[:5])
    np.testing.assert_array_equal(lazy.weights_[name][7], rest)
    assert (dense.weights_[name][7] != others).all()
    assert abs(lazy.weights_[name] - dense.weights_[name]).max() > 1e-4


def test_vectors_that_came_with_weights_stay():
    """Also of tokens that no fit has seen."""
    fitted = model(n_tokens=12).fit(TOKENS, LABELS)
    weights = {name: array.copy() for name, array in fitted.weights_.items()}
    weights["embedding.weight"][10] = 7
    for taken in (fitted.set_weights(weights), LSTMClassifier.from_weights(weights)):
        taken.set_params(embedding_updates="lazy").partial_fit(TOKENS[:5], LABELS[:5])
        np.testing.assert_array_equal(taken.weights_["embedding.weight"][10], 7)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_come_and_go(kind):
    X, features = KINDS[kind]
    fitted = model(**features).fit(X, LABELS)
    made = LSTMClassifier.from_weights(fitted.weights_, **features)
    np.testing.assert_array_equal(made.predict_proba(X), fitted.predict_proba(X))
    assert np.ndim(made.embedding_size) == (kind == "events")
    made.partial_fit(X, LABELS)
    set_ = clone(fitted).set_weights(fitted.weights_)
    np.testing.assert_array_equal(set_.predict_proba(X), fitted.predict_proba(X))


def test_numbers_beside_tokens_have_to_be_told_of_weights():
    fitted = model(categorical_features=[0, 2]).fit(EVENTS, LABELS)
    with pytest.raises(ValueError, match="reads 1 numbers beside vectors: pass categorical_features"):
        LSTMClassifier.from_weights(fitted.weights_)
    with pytest.raises(ValueError, match="categorical_features are 1, but the weights have 2 tables"):
        LSTMClassifier.from_weights(fitted.weights_, categorical_features=[0])


def test_a_network_of_pytorch():
    torch = pytest.importorskip("torch")

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.word_embeddings = torch.nn.Embedding(9, 5)
            self.lstm = torch.nn.LSTM(5, 8, batch_first=True)
            self.hidden2tag = torch.nn.Linear(8, 3)

        def forward(self, x):
            return self.hidden2tag(self.lstm(self.word_embeddings(x))[0])

    tagger, X = Tagger(), rng.integers(0, 9, (4, 6))
    ours = LSTMClassifier.from_weights(tagger.state_dict(), return_sequences=True)
    expected = tagger(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(ours.decision_function(X), expected, rtol=0, atol=1e-6)


def test_weights_of_several_columns_ask_for_several():
    X = [np.column_stack([t, t % 3]) for t in TOKENS]
    made = LSTMClassifier.from_weights(model().fit(X, LABELS).weights_)
    with pytest.raises(ValueError, match="X has 1 features per step, expected 2"):
        made.predict(np.ones((2, 3), int))
    with pytest.raises(ValueError, match="X has 1 tokens per step, expected 2"):
        LSTMClassifier.from_weights(made.weights_).partial_fit([[1, 2], [3]], [0, 1])
    assert made.stream().step([1, 2]) == made.predict([[[1, 2]]])[0]


def test_a_skip_from_all_steps():
    X = rng.integers(0, 9, (40, 5))
    y = X[:, -1] / 4.0
    given = {"embedding_size": 3, "linear_skip": True, "learning_rate_init": 1e-2, "random_state": 0}
    fitted = RNNRegressor(4, max_iter=100, **given).fit(X, y)
    assert fitted.weights_["skip.weight"].shape == (1, 15)
    assert fitted.score(X, y) > 0.9
    made = RNNRegressor.from_weights(fitted.weights_)
    np.testing.assert_array_equal(made.predict(X), fitted.predict(X))


# --- scikit-learn's tools ---------------------------------------------------------------------------------
def pipeline(**parameters):
    return make_pipeline(TokenEncoder(), model(GRUClassifier, **parameters))


def test_a_grid_search_over_the_pipeline():
    grid = {"tokenencoder__analyzer": ["word", "char"], "gruclassifier__hidden_size": [4, 8]}
    search = GridSearchCV(pipeline(), grid, cv=3, n_jobs=2).fit(TEXTS, MOODS)
    again = GridSearchCV(pipeline(), grid, cv=3).fit(TEXTS, MOODS)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"])
    assert search.predict(["good film", ""]).shape == (2,)


def test_predictions_per_step_by_cross_validation():
    tagger = model(return_sequences=True)
    found = cross_val_predict(tagger, np.array([*TOKENS, None], object)[:-1], TAGS, cv=KFold(3))
    assert [len(row) for row in found] == [len(text) for text in TOKENS]
    assert np.isfinite(cross_val_score(tagger, TOKENS, TAGS, cv=KFold(3))).all()


def test_calibrated_probabilities():
    calibrated = CalibratedClassifierCV(pipeline(), cv=2).fit(TEXTS, MOODS)
    np.testing.assert_allclose(calibrated.predict_proba(TEXTS).sum(axis=1), 1)


def test_a_pipeline_in_a_process_that_never_saw_the_texts(tmp_path):
    fitted = pipeline(max_iter=1).fit(TEXTS, MOODS)
    (tmp_path / "pipeline.pickle").write_bytes(pickle.dumps(fitted))
    code = (
        "import pickle, sys; m = pickle.load(open(sys.argv[1], 'rb'));"
        "print(m.predict_proba(['good film', 'unheard of', ''])[:, 1].tobytes().hex())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "pipeline.pickle")]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout.strip()
    expected = fitted.predict_proba(["good film", "unheard of", ""])[:, 1]
    assert found == expected.tobytes().hex()


def test_an_encoder_that_was_fitted_elsewhere():
    """It knows more words: told, with the place; an unknown word is none."""
    fitted = pipeline().fit(TEXTS, MOODS)
    other = TokenEncoder().fit([*TEXTS, "so many other words that were not there"])
    X = other.transform(["good film", "words that were not there"])
    with pytest.raises(ValueError, match=r"sequence 1, step 0: token \d+ is beyond the table.* same encoder"):
        fitted[-1].predict(X)
    assert fitted.predict(["words that were not there"]).shape == (1,)


@pytest.mark.parametrize("options", [{}, {"embedding_dropout": 0.2}, {"freeze_embedding": True}])
def test_a_copy_goes_on_with_the_same_bits(options):
    """Also where the other has room for more steps, whose sums float64 makes."""
    rng = np.random.default_rng(0)
    large, small = ([rng.integers(0, 30, 100) for _ in range(n)] for n in (12, 8))
    model = GRUClassifier(6, embedding_size=5, n_tokens=30, random_state=0, **options)
    model.partial_fit(large, np.arange(12) % 2, classes=[0, 1])
    copied = pickle.loads(pickle.dumps(model))
    for each in model, copied:
        each.partial_fit(small, np.arange(8) % 2)
    for name, array in model.weights_.items():
        np.testing.assert_array_equal(copied.weights_[name], array, err_msg=name)

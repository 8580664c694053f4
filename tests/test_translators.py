"""Translators as estimators: what they learn from, say and write."""

import pickle
from itertools import product

import gpu
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_predict

from skrnn.text import (
    AlignmentDisplay,
    GRUTranslator,
    LSTMTranslator,
    RNNTranslator,
    TokenEncoder,
    bleu_score,
    bleu_scorer,
    chrf_score,
)

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
QUICK = {"hidden_size": 8, "max_iter": 2, "random_state": 0, "dtype": "float64"}


def numbers(n=60, seed=0):
    """Digits, with blanks between, and their words."""
    drawn = [np.random.default_rng(seed + i).integers(0, 10, 1 + i % 4) for i in range(n)]
    return [" ".join(map(str, own)) for own in drawn], [" ".join(NUMBERS[k] for k in own) for own in drawn]


X, Y = numbers()
CUT = pytest.mark.filterwarnings("ignore:.*did not end within max_length")  # they have learnt little


@pytest.fixture(scope="module")
def model():
    return GRUTranslator(**QUICK | {"hidden_size": 16, "max_iter": 25}).fit(X, Y)


# --- what they learn --------------------------------------------------------------------------------
@pytest.mark.parametrize("task", ["copy", "reverse"])
@pytest.mark.parametrize("attention", ["dot", "general"])
def test_copies_and_reversals_are_learnt(task, attention):
    """All of others than those that were learnt from, longer and shorter ones."""
    rng = np.random.default_rng(0)
    texts = sorted({"".join(rng.choice(list("abcdef"), rng.integers(1, 9))) for _ in range(4500)})
    rng.shuffle(texts)
    written = [text if task == "copy" else text[::-1] for text in texts]
    translator = GRUTranslator(
        32, attention=attention, source_encoder="char", target_encoder="char", max_iter=40, dropout=0.0,
        label_smoothing=0.0, learning_rate_init=5e-3, random_state=0,
    )  # fmt: skip
    translator.fit(texts[:-200], written[:-200])
    assert translator.predict(texts[-200:]).tolist() == written[-200:]


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (LSTMTranslator, {"attention": None}),
        (RNNTranslator, {"cell": "gru", "attention": "dot", "tie_weights": True, "embedding_size": 5}),
        (RNNTranslator, {"bidirectional": False, "hidden_size": 7, "embedding_dropout": 0.1}),
        (GRUTranslator, {"num_layers": 2, "recurrent_dropout": 0.1, "early_stopping": True, "tol": 0.0}),
        (LSTMTranslator, {"device": "auto", "solver": "sgd", "learning_rate_init": 0.5, "batch_size": 5}),
    ],
)
def test_options(cls, options):
    """Each learns something, is stored whole, and a copy goes on from it."""
    options = QUICK | {"max_iter": 4} | options
    learnt = cls(**options).fit(X, Y)
    begun = cls(**options | {"learning_rate_init": 1e-12, "max_iter": 1}).fit(X, Y)
    assert learnt.score(X, Y) > begun.score(X, Y) + 0.02
    again = pickle.loads(pickle.dumps(learnt))
    learnt.partial_fit(X, Y), again.partial_fit(X, Y)
    for name, array in learnt.weights_.items():
        np.testing.assert_array_equal(again.weights_[name], array, err_msg=name)


def test_training_goes_on():
    first = GRUTranslator(**QUICK | {"warm_start": True}).fit(X, Y)
    before = first.score(X, Y)
    first.fit(X[:30], Y[:30])
    assert first.n_iter_ == 4
    assert first.score(X, Y) > before
    once = GRUTranslator(**QUICK | {"max_iter": 1, "learning_rate": "constant"})
    a, b = clone(once).fit(X, Y), clone(once).partial_fit(X, Y)
    for name, array in a.weights_.items():
        np.testing.assert_array_equal(b.weights_[name], array, err_msg=name)


def test_validation():
    held_back = numbers(20, 500)
    translator = GRUTranslator(**QUICK, early_stopping=True).fit(X, Y, X_val=held_back[0], y_val=held_back[1])
    scores = translator.history_["validation_score"]
    np.testing.assert_allclose(translator.best_validation_score_, scores.max())
    np.testing.assert_allclose(translator.score(*held_back), scores.max(), rtol=1e-12)


# --- what they say ----------------------------------------------------------------------------------
@CUT
def test_all_translations_together():
    """Of up to three tokens: those that end, and those that would go on, have a probability of less than one,
    and the search finds all of them with theirs."""
    translator = LSTMTranslator(**QUICK, max_length=3).fit(["a b", "b", "a"], ["x", "y x", "y"])
    found = translator.predict_n_best(["a b"], 50)[0]
    every = {" ".join(text) for n in range(3) for text in product("xy", repeat=n)}
    every |= {" ".join(text) for text in product("xy", repeat=3)}
    assert {text for text, _ in found} == every
    ended = [(text, p) for text, p in found if 0 < len(text.split()) < 3]
    texts, expected = zip(*ended)
    np.testing.assert_allclose(translator.log_prob(["a b"] * len(texts), texts), expected, atol=1e-10)
    assert 0.2 < np.exp([p for _, p in found]).sum() < 1  # what is left are unknown tokens, and begins


def test_log_prob_and_score(model):
    of_each, n = model.log_prob(X, Y), np.array([len(text.split()) + 1 for text in Y])
    np.testing.assert_allclose(model.score(X, Y), of_each.sum() / n.sum())
    for i in 0, 3, 17:
        np.testing.assert_array_equal(model.log_prob([X[i]], [Y[i]])[0], of_each[i])


def test_the_best_are_what_a_search_finds(model):
    """Best first by log p / length, with the log-likelihoods of `log_prob`."""
    several = model.predict_n_best(X[:10], 4)
    for source, found in zip(X, several):
        assert len(found) == 4
        texts, log_probs = zip(*found)
        np.testing.assert_allclose(model.log_prob([source] * 4, texts), log_probs, atol=1e-10)
        ranks = np.array(log_probs) / np.array([len(text.split()) + 1 for text in texts]) ** 0.6
        assert (np.diff(ranks) <= 1e-12).all()
    assert model.predict(X[:10]).tolist() == [found[0].text for found in several]
    greedy = clone(model).set_params(beam_size=1)
    greedy.__dict__.update({k: v for k, v in vars(model).items() if k.endswith("_") or k.startswith("_")})
    assert [len(found) for found in greedy.predict_n_best(X[:3], 1)] == [1, 1, 1]


def test_alone_and_among_others(model):
    """The same translations, to the bit, also of more than are searched for at a time."""
    many = X * 4
    together, several = model.predict(many), model.predict_n_best(many, 2)
    for i in (0, 5, 130, 239):
        assert model.predict([many[i]])[0] == together[i]
        assert model.predict_n_best([many[i]], 2)[0] == several[i]
    two = clone(model).set_params(n_jobs=2).fit(X, Y)
    for name, array in model.weights_.items():
        np.testing.assert_array_equal(two.weights_[name], array, err_msg=name)


def with_parameters(model, **changed):
    """A copy, fitted as it is."""
    return pickle.loads(pickle.dumps(model)).set_params(**changed)


def test_what_a_search_goes_by(model):
    """A width of 1 takes the most probable token each time; a wider search finds better ones; a penalty that
    is high enough prefers long ones."""
    greedy = with_parameters(model, beam_size=1, length_penalty=3.0)
    for source, text in zip(X[:12], greedy.predict(X[:12])):
        tokens = model.target_encoder_.transform([text])[0] if text else []
        for k in range(1 + len(tokens)):  # the most probable one behind each beginning
            beginning = " ".join(text.split()[:k])
            ends = model.log_prob([source], [beginning])[0]
            longer = [model.log_prob([source], [f"{beginning} {word}".strip()])[0] for word in NUMBERS]
            # p(beginning word end) <= p(beginning word): the end is the best if nothing exceeds it
            if k == len(tokens):
                assert ends > max(longer)
    total = {size: np.mean([f[0].log_prob for f in with_parameters(model, beam_size=size, length_penalty=0.0)
                            .predict_n_best(X, 1)]) for size in (1, 5)}  # fmt: skip
    assert total[5] > total[1]
    words = {
        penalty: sum(len(t.split()) for t in with_parameters(model, length_penalty=penalty).predict(X))
        for penalty in (0.0, 8.0)
    }
    assert words[8.0] > words[0.0]


def test_parameters_are_checked_when_they_are_used(model):
    for name, value in (
        ("beam_size", 0),
        ("beam_size", 2.7),
        ("beam_size", "x"),
        ("length_penalty", "x"),
        ("n_jobs", 0),
    ):
        with pytest.raises(ValueError, match=name):
            with_parameters(model, **{name: value}).predict(X[:1])


def test_training_goes_on_with_what_it_began_with():
    first = GRUTranslator(**QUICK).fit(X[:10], Y[:10])
    before = first.max_length_
    with pytest.raises(ValueError, match=r"training goes on with hidden_size=8 of the first fit, not 10"):
        first.set_params(hidden_size=10).partial_fit(X, Y)
    longer = " ".join(["one"] * 20)
    assert first.set_params(hidden_size=8).partial_fit(["1"], [longer]).max_length_ == 42 > before


def test_options_of_training_matter():
    """Smoothing, minibatches, and unknown tokens that are learnt."""
    losses = {
        share: GRUTranslator(**QUICK, label_smoothing=share, batch_size=20).fit(X, Y).loss_
        for share in (0.0, 0.3)
    }
    assert losses[0.0] != losses[0.3]
    one, other = (GRUTranslator(**QUICK, batch_size=size).fit(X, Y) for size in (20, 60))
    assert not np.array_equal(one.weights_["head.weight"], other.weights_["head.weight"])
    rare = GRUTranslator(**QUICK, source_encoder=TokenEncoder(max_features=5)).fit(X, Y)
    table = rare.weights_["encoder.embedding.weight"]
    assert not np.allclose(table[0], table[1:].mean(axis=0))


def test_pairs_that_are_held_back_stay_pairs():
    translator = GRUTranslator(**QUICK)
    sources, targets = [np.array([i]) for i in range(20)], [np.array([i, 0]) for i in range(20)]
    *parts, numbers = translator._hold_back((sources, targets), False)
    for part in parts:
        assert [s[0] for s in part[0]] == [t[0] for t in part[1]]
    assert [s[0] for s in parts[0][0]] == numbers.tolist()


def test_many_alignments(model):
    """More than are made at a time."""
    many, given = X * 5, Y * 5
    found = model.attention_weights(many, given)
    for i in 3, 270, 299:
        np.testing.assert_array_equal(found[i], model.attention_weights([many[i]], [given[i]])[0])


def test_an_empty_translation_can_be_scored(model):
    assert model.log_prob(["1 2"], [""])[0] < 0
    assert model.attention_weights(["1 2"], [""])[0].shape == (1, 2)


def test_attention_weights(model):
    for y in None, Y[:7]:
        found = model.attention_weights(X[:7], y)
        translated = model.predict(X[:7]) if y is None else y
        for source, target, weights in zip(X, translated, found):
            assert weights.shape == (len(target.split()) + 1, len(source.split()))
            np.testing.assert_allclose(weights.sum(axis=1), 1)
    alone = model.attention_weights([X[3]])[0]
    np.testing.assert_array_equal(alone, model.attention_weights(X[:7])[3])


def test_a_picture(model):
    pytest.importorskip("matplotlib").use("Agg")
    display = AlignmentDisplay.from_estimator(model, "3 1 ?", "three one", cmap="viridis")
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["3", "1", "<unk>"]
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["three", "one", "<end>"]
    np.testing.assert_array_equal(
        display.image_.get_array(), model.attention_weights(["3 1 ?"], ["three one"])[0]
    )
    assert AlignmentDisplay.from_estimator(model, X[0], ax=display.ax_).figure_ is display.figure_


def test_words_and_signs():
    """Are put together again as people write them."""
    texts = ["It's well-known.", 'He said: "I (Tom) paid 5,000.50 for it!"', "Why?"] * 20
    translator = GRUTranslator(32, max_iter=30, dropout=0.0, learning_rate_init=1e-2, random_state=0)
    sources = ["a", "b", "c"] * 20
    assert translator.fit(sources, texts).predict(["a", "b", "c"]).tolist() == texts[:3]


@CUT
def test_lists_of_tokens():
    sounds = [text.split() for text in Y]
    translator = LSTMTranslator(**QUICK, source_encoder="char").fit(X, sounds)
    predicted = translator.predict(X[:3])
    assert predicted.dtype == object
    assert all(isinstance(found, list) and set(found) <= set(NUMBERS) for found in predicted)
    ready = TokenEncoder("tokens").fit(sounds)
    other = LSTMTranslator(**QUICK, source_encoder="char", target_encoder=ready).fit(X, sounds)
    assert other.target_encoder_ is not ready
    np.testing.assert_array_equal(other.weights_["head.weight"], translator.weights_["head.weight"])


def test_a_translation_that_does_not_end(model):
    short = GRUTranslator(**QUICK, max_length=1).fit(X, Y)
    with pytest.warns(
        RuntimeWarning, match=r"did not end within max_length=1, the first of them that of X\["
    ):
        found = short.predict(X[:8])
    assert all(len(text.split()) <= 1 for text in found)
    short.set_params(max_length=3)
    assert short.max_length_ == 3
    assert model.max_length_ == 2 * 5


@CUT
def test_never_seen_tokens():
    """Have the mean of the vectors, and are never written."""
    translator = GRUTranslator(**QUICK).fit(X, Y)
    table = translator.weights_["encoder.embedding.weight"]
    np.testing.assert_allclose(table[0], table[1:].mean(axis=0))
    assert "<unk>" not in translator.predict(["? ! 5"])[0]
    rare = GRUTranslator(**QUICK, target_encoder=TokenEncoder(max_features=5)).fit(X, Y)
    assert "<unk>" not in " ".join(rare.predict(X))


# --- in scikit-learn --------------------------------------------------------------------------------
@CUT
def test_a_search():
    search = GridSearchCV(GRUTranslator(**QUICK), {"hidden_size": [4, 8]}, cv=2, n_jobs=2).fit(X, Y)
    assert set(search.cv_results_["rank_test_score"]) <= {1, 2}
    search = GridSearchCV(GRUTranslator(**QUICK), {"attention": ["dot", None]}, scoring=bleu_scorer, cv=2)
    search.fit(X, Y)
    assert np.isfinite(search.best_score_)
    assert len(cross_val_predict(GRUTranslator(**QUICK), X, Y, cv=2)) == len(X)


# --- metrics ----------------------------------------------------------------------------------------
def test_bleu_and_chrf():
    sacrebleu = pytest.importorskip("sacrebleu")
    true = ["the cat sat on the mat.", "It is raining a lot today", "I don't know."]
    pred = ["the cat sat on a mat.", "It rains a lot today", "I do not know."]
    assert bleu_score(true, pred) == sacrebleu.corpus_bleu(pred, [true]).score
    assert chrf_score(true, pred) == sacrebleu.corpus_chrf(pred, [true]).score
    several = [[text] for text in true]
    several[1].append("It rains a lot today")
    score, signature = bleu_score(several, pred, return_signature=True)
    assert score > bleu_score(true, pred)
    assert "tok:13a" in signature
    assert "case:mixed" in signature
    assert bleu_score(true, [text.upper() for text in true], lowercase=True) == pytest.approx(100)
    tokens = [text.split() for text in true], [text.split() for text in pred]
    expected = sacrebleu.corpus_bleu(pred, [true], tokenize="none", force=True).score
    assert bleu_score(*tokens) == expected
    assert bleu_score([[own, ["other"]] for own in tokens[0]], tokens[1]) == expected
    for arguments, message in (
        ((true, pred[:2]), "y_true has 3 texts and y_pred 2"),
        (([], []), "are empty"),
        (("a", "a"), "y_true is one text"),
        (([["a"], []], ["a", "b"]), r"y_true\[1\] has no reference"),
    ):
        with pytest.raises(ValueError, match=message):
            bleu_score(*arguments)


# --- mistakes ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (["a", "b"], ["x"], ValueError, "X has 2 texts and y 1"),
        (["a", ""], ["x", "y"], ValueError, r"X\[1\] has no token"),
        (["a", "b"], ["x", " "], ValueError, r"y\[1\] has no token"),
        (["a", "b"], [1, 2], TypeError, "y: document 0 must be"),
        (["a", 2], ["x", "y"], TypeError, "X: document 1 must be a string"),
        ("a", ["x"], ValueError, r"X is one text: pass a list of texts, \[X\]"),
        (["a"], "x", ValueError, "y is one text"),
        (3, ["x"], TypeError, "X must be a text or a list of texts, got int"),
        (["a"], 3, TypeError, "y must be a text or a list of texts, got int"),
        ([], [], ValueError, "X"),
        ({"a": 1}, ["x"], TypeError, "X must be a text or a list of texts, got dict"),
        (pd.DataFrame({"a": ["b"]}), ["x"], ValueError, "X must be texts, one after the other, got shape"),
        (np.array([["a b"]]), ["x"], ValueError, "X must be texts, one after the other, got shape"),
    ],
)
def test_pairs_that_are_none(X, y, error, message):
    translator = GRUTranslator(**QUICK)
    with pytest.raises(error, match=message):
        translator.fit(X, y)
    assert not hasattr(translator, "weights_")


def test_what_cannot_be_asked(model):
    for call, error, message in (
        (lambda: model.predict(["1", ""]), ValueError, r"X\[1\] has no token"),
        (lambda: model.predict([1]), TypeError, "X: document 0 must be a string"),
        (lambda: model.predict("1 2"), ValueError, "X is one text"),
        (lambda: model.predict_n_best(["1"], 0), ValueError, "n must be an integer of at least 1"),
        (lambda: model.log_prob(["1"], ["one", "two"]), ValueError, "X has 1 texts and y 2"),
        (lambda: model.score([], []), ValueError, "X is empty"),
        (lambda: GRUTranslator(beam_size=0).fit(X, Y), ValueError, "beam_size"),
        (lambda: GRUTranslator(attention="additive").fit(X, Y), ValueError, "attention"),
        (lambda: GRUTranslator(7).fit(X, Y), ValueError, "hidden_size=7 units read backwards: make it even"),
        (lambda: GRUTranslator().predict(X), Exception, "not fitted"),
        (lambda: GRUTranslator(**QUICK).fit(X, Y, X_val=X), ValueError, "X_val and y_val go together"),
        (
            lambda: GRUTranslator(**QUICK, attention=None).fit(X, Y).attention_weights(X),
            ValueError,
            "attention=None: this translator has no weights",
        ),
        (
            lambda: GRUTranslator(early_stopping=True).fit(X[:1], Y[:1]),
            ValueError,
            "early_stopping holds back all of 1 pairs",
        ),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=gpu.needs_gpu)])
def test_on_a_gpu(device):
    options = QUICK | {"hidden_size": 4, "max_iter": 1}
    here, there = (GRUTranslator(**options, device=where).fit(X[:9], Y[:9]) for where in ("cpu", device))
    for name, array in here.weights_.items():
        np.testing.assert_allclose(there.weights_[name], array, rtol=0, atol=1e-10, err_msg=name)
    np.testing.assert_allclose(there.log_prob(X[:3], Y[:3]), here.log_prob(X[:3], Y[:3]), atol=1e-9)
    assert there.predict(X[:2]).tolist() == here.predict(X[:2]).tolist()
    for a, b in zip(there.attention_weights(X[:2]), here.attention_weights(X[:2]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)

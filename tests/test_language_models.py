"""Language models as estimators: what they learn from, say and write."""

import pickle

import gpu
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skrnn import LSTMClassifier, backends
from skrnn.text import GRULanguageModel, LSTMLanguageModel, RNNLanguageModel, TokenEncoder
from skrnn.text.corpus import Vocabulary, blocks
from skrnn.text.words import tidy

TEXT = "the quick brown fox jumps over the lazy dog. " * 12
NAMES = ["anna", "hanna", "johanna", "susanna", "", "marianna", "rosanna", "joanna"] * 6
QUICK = {"hidden_size": 8, "max_iter": 3, "tbptt_steps": 16, "random_state": 0, "dtype": "float64"}


@pytest.fixture(scope="module")
def of_text():
    return GRULanguageModel(**QUICK).fit(TEXT)


@pytest.fixture(scope="module")
def of_names():
    return LSTMLanguageModel(**QUICK | {"max_iter": 8}).fit(NAMES)


# --- what is read -----------------------------------------------------------------------------------
def test_what_is_read():
    vocabulary, texts = Vocabulary(None, 3), [np.array(own, np.int32) for own in ([1, 2, 5], [5], [3])]
    assert (vocabulary.begin, vocabulary.end, vocabulary.n_tokens) == (4, 5, 6)
    sequences, y = vocabulary.read(texts, np.dtype(np.float32))
    assert [part[:, 0].tolist() for part in sequences.split(sequences.tokens)] == [[4, 1, 2], [4], [4]]
    assert y.values[:, 0].tolist() == [1, 2, 5, 5, 3]


def test_blocks():
    def cut(*args):
        return [(block.tokens.tolist(), block.skipped) for block in blocks(np.arange(6), *args)]

    assert cut(2, None) == [([0, 1, 2, 3, 4, 5], 2)]
    assert cut(0, 4) == [([0, 1, 2, 3], 0), ([3, 4, 5], 1)]
    assert cut(3, 2) == [([2, 3, 4], 1), ([4, 5], 1)]


# --- probabilities ----------------------------------------------------------------------------------
def test_documents_have_the_probability_one_together(of_names):
    """Those of up to two letters that end, and all that go on: p(go on behind "ab") is p("ab...")."""
    letters = [*of_names.encoder_.get_feature_names_out()[1:]]
    short = ["", *letters, *(a + b for a in letters for b in letters)]
    ended, goes_on, others = np.exp(of_names.log_prob(short)).sum(), 0.0, 0.0
    for text in short:
        table = of_names.predict_next(text, top=None).set_index("token")["probability"]
        np.testing.assert_allclose(table.sum(), 1)
        reached = np.exp(of_names.log_prob(text)) / table["<end>"]
        others += reached * table[["<unk>", "<begin>"]].sum()  # which no document here has
        goes_on += reached * table[letters].sum() if len(text) == 2 else 0
    np.testing.assert_allclose(ended + goes_on + others, 1)


def test_log_prob_is_made_of_next_tokens(of_names, of_text):
    for model, text, ends in (of_names, "anna", ["<end>"]), (of_text, "the fox", []):
        expected = []
        for k, token in enumerate([*text, *ends]):
            table = model.predict_next(text[:k], top=None).set_index("token")["probability"]
            expected.append(np.log(table[token]))
        found = model.log_prob(text, per_token=True)
        np.testing.assert_allclose(found, expected, atol=1e-12)
        np.testing.assert_allclose(model.log_prob(text), sum(expected))
        np.testing.assert_allclose(model.score(text), np.mean(expected))
        np.testing.assert_allclose(model.perplexity(text), np.exp(-np.mean(expected)))
        np.testing.assert_allclose(model.bits_per_character(text), -sum(expected) / np.log(2) / len(text))


def test_texts_may_come_one_by_one(of_names):
    for ask in of_names.score, of_names.bits_per_character, of_names.perplexity:
        assert ask(name for name in NAMES) == ask(NAMES)


def test_texts_do_not_mix(of_names):
    """The same bits alone or among others."""
    together = of_names.log_prob(NAMES[:6])
    assert together.tolist() == [of_names.log_prob(name) for name in NAMES[:6]]
    per_token = of_names.log_prob(NAMES[:6], per_token=True)
    assert [len(each) for each in per_token] == [1 + len(name) for name in NAMES[:6]]


def test_context_and_blocks(of_text):
    whole = of_text.log_prob(TEXT[:100], per_token=True)
    after = of_text.log_prob(TEXT[40:100], per_token=True, context=TEXT[:40])
    np.testing.assert_array_equal(after, whole[40:])
    cold = of_text.log_prob(TEXT[40:100], per_token=True, context=TEXT[:40], block_size=25)
    assert len(cold) == 60
    for k in range(0, 60, 25):  # each begins behind the token before it
        block, before = TEXT[40 + k : min(65 + k, 100)], TEXT[39 + k]
        alone = of_text.log_prob(block, per_token=True, context=before)
        np.testing.assert_array_equal(cold[k : k + 25], alone)
        assert not np.array_equal(alone, whole[40 + k : 65 + k])
    np.testing.assert_array_equal(of_text.log_prob(TEXT[:30], per_token=True, block_size=30), whole[:30])
    np.testing.assert_allclose(
        of_text.score([TEXT[:50], TEXT[50:90]], context=["", TEXT[:50]]), whole[:90].mean(), rtol=1e-12
    )


# --- writing ----------------------------------------------------------------------------------------
def test_what_is_written_has_the_probabilities_that_are_told(of_text):
    n, table = 2000, of_text.predict_next("the ", top=None)
    texts = of_text.generate("the ", 1, n, random_state=0)
    p = table.set_index("token")["probability"].drop(["<unk>", "<begin>", "<end>"])
    expected = n * p / p.sum()
    counts = np.array([texts.count(token) for token in expected.index])
    some = expected.to_numpy() > 1
    assert counts.sum() == n
    statistic = ((counts - expected) ** 2 / expected)[some].sum()
    assert statistic < some.sum() + 5 * np.sqrt(2 * some.sum())


def test_the_same_seed_writes_the_same(of_names):
    many = of_names.generate("a", 20, 9, random_state=3)
    assert of_names.generate("a", 20, random_state=3) == many[0]
    assert of_names.generate("a", 20, 4, random_state=3) == many[:4]
    assert clone(of_names).set_params(n_jobs=2).fit(NAMES).generate("a", 20, 9, random_state=3) == many
    assert "".join(of_names.write("a", 20, random_state=3)) == many[0]
    assert len(set(many)) > 1
    assert of_names.generate("a", 20, 9, random_state=4) != many
    assert of_names.generate("a", 20, 50) != of_names.generate("a", 20, 50)
    assert all(len(text) <= 20 for text in many)


def test_greedy_and_cut(of_text):
    greedy = of_text.generate("the", 30, temperature=0)
    assert greedy == of_text.generate("the", 30, top_k=1, random_state=1)
    assert greedy == of_text.generate("the", 30, top_p=1e-9, random_state=1)
    assert greedy == of_text.generate("the", 30, temperature=1e-320, random_state=1)
    best = of_text.predict_next("the", top=3)
    assert greedy[0] == best["token"][0]
    assert set(of_text.generate("the", 1, 300, top_k=3, random_state=0)) == set(best["token"])


def test_stop(of_text):
    text = of_text.generate("the", 100, random_state=0)
    stop = text[40:43]
    expected = text[: text.index(stop)]
    assert of_text.generate("the", 100, stop=stop, random_state=0) == expected
    assert of_text.generate("the", 100, stop=["never written", stop], random_state=0) == expected
    assert "".join(of_text.write("the", 100, stop=stop, random_state=0)) == expected
    assert of_text.generate("the", 100, 2, stop="\0", random_state=0)[0] == text
    assert len(list(of_text.write("the", 100, random_state=0))) > 1


def test_words():
    text = "It's (very) quick, the fox: it jumps!\n\nThen it sleeps. " * 20
    model = RNNLanguageModel(24, cell="gru", encoder="word", tbptt_steps=16, random_state=0).fit(text)
    written = model.generate("It's (very) quick, the", 9, temperature=0)
    assert written == "fox: it jumps!\n\nThen it"
    for seed in range(10):  # several pieces
        whole = model.generate("It's", 100, random_state=seed)
        parts = list(model.write("It's", 100, random_state=seed))
        assert "".join(parts) == whole
        assert len(parts) > 2
    assert model.predict_next("It's (very) quick, the", 1)["token"].tolist() == ["fox"]
    assert tidy("a ( b ) , c' s well- known \n d") == "a (b), c's well-known\nd"
    assert tidy('" a " , " b ! "') == '"a", "b!"'


def test_lists_of_tokens():
    documents = [["x", "y", "z"], ["x", "y"], ["y", "z"]] * 10
    model = GRULanguageModel(8, encoder=TokenEncoder("tokens"), max_iter=20, random_state=0).fit(documents)
    assert model.log_prob([["x", "y"]]).shape == (1,)
    written = model.generate(["x"], 5, 3, random_state=0)
    assert all(set(tokens) <= {"x", "y", "z"} for tokens in written)
    assert model.generate(max_tokens=5, random_state=0) == model.generate([], 5, random_state=0)
    assert len(model.predict_next(top=None)) == model.n_tokens_
    with pytest.raises(TypeError, match="use generate for lists of tokens"):
        model.write(["x"], 5)
    with pytest.raises(TypeError, match="lists of tokens have no characters"):
        model.bits_per_character(documents)


# --- training ---------------------------------------------------------------------------------------
def test_it_learns():
    model = GRULanguageModel(24, max_iter=40, tbptt_steps=16, random_state=0).fit(TEXT)
    assert model.perplexity(TEXT) < 1.1
    assert model.generate("the quick br", 20, temperature=0) == "own fox jumps over t"
    assert model.n_iter_ == 40
    assert model.history_["epoch"].tolist() == list(range(1, 41))


def test_rows_of_the_history():
    model = GRULanguageModel(**QUICK | {"steps_per_row": 10, "max_iter": 2}).fit(TEXT)
    updates = -(-len(TEXT) // 16)
    assert len(model.history_["epoch"]) == 2 * round(updates / 10)
    assert model.n_iter_ == 2
    assert 0 < model.history_["epoch"][0] < 1
    whole = GRULanguageModel(**QUICK | {"steps_per_row": 1000, "max_iter": 2}).fit(TEXT)
    for name, array in whole.weights_.items():
        np.testing.assert_array_equal(model.weights_[name], array)
    more = GRULanguageModel(**QUICK | {"warm_start": True}).fit(TEXT).fit(TEXT)
    assert more.n_iter_ == 6
    stops = {"warm_start": True, "steps_per_row": 5, "n_iter_no_change": 3, "tol": 10.0, "max_iter": 2}
    often = GRULanguageModel(**QUICK | stops).fit(TEXT).fit(TEXT)  # each within a pass
    for model in more, often:
        assert (np.diff(model.history_["epoch"]) > 0).all()


@pytest.mark.parametrize("X", [TEXT, NAMES], ids=["text", "documents"])
def test_early_stopping(X):
    """The weights that are kept are those that scored best; what is given is scored as by `score`."""
    other = X[::-1] if isinstance(X, str) else [name[::-1] for name in X]  # is soon not what is learnt
    options = QUICK | {"early_stopping": True, "max_iter": 6, "learning_rate_init": 0.05}
    model = GRULanguageModel(**options).fit(X, X_val=other)
    assert model.best_validation_score_ == max(model.validation_scores_) > model.validation_scores_[-1]
    np.testing.assert_allclose(model.score(other), model.best_validation_score_, rtol=1e-9)
    held_back = GRULanguageModel(**options).fit(X)
    assert held_back.best_validation_score_ == max(held_back.validation_scores_)
    everything = GRULanguageModel(**QUICK).fit(X, X_val=X)  # nothing is held back
    also = GRULanguageModel(**QUICK | {"early_stopping": True, "tol": 0.0}).fit(X, X_val=X)
    np.testing.assert_array_equal(also.history_["loss"], everything.history_["loss"])


def test_unknown_tokens_are_validated_as_they_are_read():
    upper = "THE QUICK BROWN fox JUMPS"
    model = GRULanguageModel(**QUICK).fit(TEXT, X_val=upper)
    np.testing.assert_allclose(model.validation_scores_[-1], model.score(upper), rtol=1e-6)
    np.testing.assert_allclose(
        model.weights_["embedding.weight"][0], model.weights_["embedding.weight"][1:-2].mean(axis=0)
    )


def test_what_was_learnt_of_unknown_tokens_stays():
    model = GRULanguageModel(**QUICK).partial_fit("abc " * 100).partial_fit("a?c " * 100)
    learnt = model.weights_["embedding.weight"]
    model.set_params(learning_rate_init=1e-9).partial_fit("abc " * 10)
    np.testing.assert_allclose(model.weights_["embedding.weight"], learnt, atol=1e-6)
    assert not np.allclose(learnt[0], learnt[1:-2].mean(axis=0), atol=1e-3)


def test_how_many_are_read_side_by_side():
    """Fewer than 16 where a pass would have less than 100 updates."""
    long, short = ["ab" * 400] * 40, ["ab"] * 400
    for texts, size in (long, 4), (short, 4), (short * 10, 16):
        model = GRULanguageModel(4, max_iter=1, tbptt_steps=80, random_state=0).fit(texts)
        lengths = np.array([1 + len(text) for text in texts])
        assert model._plan(lengths) == (size, (-(-lengths // 80)).sum() // size)


@pytest.mark.parametrize("X", [TEXT, NAMES], ids=["text", "documents"])
def test_partial_fit(X):
    model = GRULanguageModel(**QUICK | {"learning_rate": "constant"})
    for _ in range(3):
        model.partial_fit(X)
    assert model.n_iter_ == 3
    assert model.score(X) > GRULanguageModel(**QUICK | {"max_iter": 1}).fit(X).score(X)
    once = GRULanguageModel(**QUICK | {"max_iter": 1, "learning_rate": "constant"})
    a, b = clone(once).fit(X), clone(once).partial_fit(X)
    for name, array in a.weights_.items():
        np.testing.assert_array_equal(b.weights_[name], array, err_msg=name)
    assert np.isfinite(model.partial_fit(X[:20]).log_prob("?" if X is TEXT else ["?"])).all()
    with pytest.raises(ValueError, match="training goes on from"):
        model.partial_fit(NAMES if X is TEXT else TEXT)


def test_searches_and_copies(of_names):
    search = GridSearchCV(
        GRULanguageModel(**QUICK), {"hidden_size": [4, 8]}, cv=2, n_jobs=2, error_score="raise"
    ).fit(NAMES)
    assert search.best_params_["hidden_size"] in (4, 8)
    assert search.best_score_ < 0
    again = pickle.loads(pickle.dumps(of_names))
    assert again.log_prob(NAMES).tolist() == of_names.log_prob(NAMES).tolist()
    assert again.generate("a", random_state=0) == of_names.generate("a", random_state=0)


def test_an_encoder_of_ones_own():
    encoder = TokenEncoder("char", vocabulary=list("abehnorstu "))
    model = GRULanguageModel(**QUICK, encoder=encoder).fit(TEXT)
    assert not hasattr(encoder, "vocabulary_")
    assert model.encoder_.transform(["az"])[0].tolist() == [1, 0]
    assert "<unk>" in model.predict_next("the ", top=20)["token"].tolist()
    assert "<unk>" not in model.generate("the ", 300, random_state=0)
    fitted = TokenEncoder("char").fit([TEXT + "?"])
    model = GRULanguageModel(**QUICK, encoder=fitted).fit(TEXT)
    assert "?" in model.encoder_.vocabulary_
    before, written = model.log_prob("the fox"), model.generate("the", random_state=0)
    fitted.fit(["abc"])
    assert model.log_prob("the fox") == before
    assert model.generate("the", random_state=0) == written
    with pytest.raises(ValueError, match="max_length would cut texts and prompts"):
        GRULanguageModel(encoder=TokenEncoder("char", max_length=5)).fit(TEXT)


@pytest.mark.parametrize("X", [TEXT, NAMES], ids=["text", "documents"])
@pytest.mark.parametrize(
    "options",
    [
        {"tie_weights": True},
        {"tie_weights": True, "embedding_size": 5, "dropout": 0.2},
        {"dropout": 0.2, "embedding_dropout": 0.2, "recurrent_dropout": 0.2, "num_layers": 2},
        {"batch_size": 3, "learning_rate": "plateau", "n_iter_no_change": 1, "tol": 1.0},
        {"solver": "sgd", "learning_rate_init": 0.5, "momentum": 0.0, "device": "auto"},
    ],
)
def test_options(X, options):
    """Each learns something, is stored whole, and a copy goes on from it."""
    model = LSTMLanguageModel(**QUICK | options).fit(X)
    begun = LSTMLanguageModel(**QUICK | options | {"learning_rate_init": 1e-12, "max_iter": 1}).fit(X)
    assert model.score(X) > begun.score(X) + 0.05
    assert model.device_ == "cpu"
    again = pickle.loads(pickle.dumps(model))
    model.partial_fit(X), again.partial_fit(X)
    for name, array in model.weights_.items():
        np.testing.assert_array_equal(again.weights_[name], array, err_msg=name)


# --- mistakes ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("", ValueError, "X is an empty text"),
        ([], ValueError, "X are documents without a token"),
        (["", ""], ValueError, "X are documents without a token"),
        (["a", 3], TypeError, "document 1 must be a string, got 3"),
        (3, TypeError, "X must be a text or a list of texts, got int"),
        (b"text", TypeError, "X must be a text or a list of texts, got bytes"),
    ],
)
def test_texts_that_are_none(X, error, message):
    model = GRULanguageModel(**QUICK)
    with pytest.raises(error, match=message):
        model.fit(X)
    assert not hasattr(model, "weights_")


def test_a_text_without_a_word():
    model = GRULanguageModel(**QUICK, encoder=TokenEncoder(vocabulary=["a", "b"]))
    with pytest.raises(ValueError, match="X is a text without a token"):
        model.fit("   ")
    before = model.fit("a b " * 20).score("a b")
    with pytest.raises(ValueError, match="X is a text without a token"):
        model.partial_fit("   ")
    assert model.score("a b") == before


def test_a_classifier_begins_with_the_layers():
    """As README shows it."""
    model = LSTMLanguageModel(**QUICK | {"embedding_size": 5}).fit(NAMES)
    weights = {name: w for name, w in model.weights_.items() if not name.startswith("head.")}
    weights |= {"head.weight": np.zeros((1, 8)), "head.bias": np.zeros(1)}
    classifier = LSTMClassifier(
        8, embedding_size=5, pooling="mean", warm_start=True, dtype="float64", max_iter=1
    )
    classifier.set_weights(weights, classes=["bad", "good"])
    np.testing.assert_array_equal(classifier.weights_["weight_hh_l0"], model.weights_["weight_hh_l0"])
    labels = ["bad", "good"] * (len(NAMES) // 2)
    tokens = model.encoder_.transform([name or "a" for name in NAMES])
    assert set(classifier.fit(tokens, labels).predict(tokens)) <= {"bad", "good"}


def test_a_text_shorter_than_a_chunk():
    model = GRULanguageModel(**QUICK).fit("ab")
    assert np.isfinite(model.score("ab"))
    assert len(model.generate("", 5, random_state=0)) == 5


def test_what_cannot_be_asked(of_text, of_names):
    for call, error, message in (
        (lambda: of_text.generate(top_p=0), ValueError, "top_p must be above 0"),
        (lambda: of_text.generate(top_k=0), ValueError, "top_k must be an integer of at least 1"),
        (lambda: of_text.generate(temperature=-1), ValueError, "temperature must be at least 0"),
        (lambda: of_text.generate(temperature=np.nan), ValueError, "temperature must be at least 0"),
        (lambda: of_text.generate(max_tokens=0), ValueError, "max_tokens must be an integer of at least 1"),
        (lambda: of_text.generate(n=2.0), ValueError, "n must be an integer of at least 1, got 2.0"),
        (lambda: of_text.generate(stop=""), ValueError, "stop must be texts that are not empty"),
        (lambda: of_text.generate(["a"]), TypeError, "prompt must be a text, got list"),
        (lambda: of_text.predict_next("a", top=0), ValueError, "top must be an integer of at least 1"),
        (lambda: of_text.score(""), ValueError, "X has no token"),
        (lambda: of_text.log_prob("a", block_size=0), ValueError, "block_size must be an integer of at"),
        (lambda: of_names.log_prob(["a", "b"], context="c"), ValueError, "2 texts need as many contexts"),
        (lambda: of_names.log_prob(["a", "b"], context=["c"]), ValueError, "2 texts need as many contexts"),
        (lambda: GRULanguageModel().generate(), Exception, "not fitted"),
        (lambda: GRULanguageModel().fit("ab", X_val=""), ValueError, "X_val has no token"),
        (
            lambda: GRULanguageModel(early_stopping=True).fit("ab"),
            ValueError,
            "early_stopping holds back 0 of 2",
        ),
    ):
        with pytest.raises(error, match=message):
            call()
    unknown = of_text.generate("§§§", 5, temperature=0)  # read as unknown tokens
    assert len(unknown) == 5


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=gpu.needs_gpu)])
def test_on_a_gpu(device, monkeypatch):
    """The same texts, probabilities and weights; and whatever is replayed is so in a turn."""
    options = QUICK | {"hidden_size": 4, "max_iter": 1}
    here, there = (GRULanguageModel(**options, device=where).fit(NAMES[:12]) for where in ("cpu", device))
    for name, array in here.weights_.items():
        np.testing.assert_allclose(there.weights_[name], array, rtol=0, atol=1e-10, err_msg=name)
    np.testing.assert_allclose(there.log_prob(NAMES[:4]), here.log_prob(NAMES[:4]), atol=1e-9)
    turns, run = backends.get(device).turns, backends.get(device).Tape.run
    replayed = []

    def in_turn(tape, *args, **options):
        replayed.append(turns.current())  # raises outside of one
        return run(tape, *args, **options)

    monkeypatch.setattr(backends.get(device).Tape, "run", in_turn)
    asked = {"max_tokens": 6, "random_state": 0}
    assert there.generate("a", n=2, **asked) == here.generate("a", n=2, **asked)
    assert "".join(there.write("a", **asked)) == here.generate("a", **asked)
    assert replayed

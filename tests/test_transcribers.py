"""Transcribers as estimators: what they learn from, understand and say."""

import pickle
from copy import copy

import gpu
import numpy as np
import pandas as pd
import pytest
from scipy.io import wavfile
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline

from skrnn.audio import (
    MFCC,
    GRUTranscriber,
    LogMelSpectrogram,
    LSTMTranscriber,
    RNNTranscriber,
    character_error_rate,
)
from skrnn.audio.frames import faster, stacked

QUICK = {"hidden_size": 8, "num_layers": 1, "max_iter": 2, "random_state": 0, "dtype": "float64"}
PLAIN = {"time_masks": 0, "feature_masks": 0, "dropout": 0.0}


def spoken(text, rng, silence=True):
    """Frames that say a, b or c for some steps each, with silence between."""
    said = []
    for label in text:
        said += ["abc".index(label)] * rng.integers(1, 4) + [3] * rng.integers(1 if silence else 0, 3)
    return np.eye(4)[[3, *said]] + rng.normal(scale=0.1, size=(len(said) + 1, 4))


def recordings(n=60, seed=0):
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list("abc"), rng.integers(0, 6))) for _ in range(n)]
    return [spoken(text, rng) for text in texts], texts


def tones(text, rng, rate=8000):
    """A signal of a tone for each label, and the silence that follows it."""
    t = np.arange(rate // 10) / rate
    parts = [
        np.sin(2 * np.pi * {"a": 400, "b": 900, "c": 2000}[label] * t) * np.hanning(len(t)) for label in text
    ]
    pause = np.zeros(rate // 20)
    signal = np.concatenate([pause, *[part for tone in parts for part in (tone, pause)]])
    return (0.3 * signal + rng.normal(scale=0.01, size=len(signal))).astype(np.float32)


X, Y = recordings()
MEL = LogMelSpectrogram(8000, n_mels=8, frame_length=0.02, frame_step=0.01)


@pytest.fixture(scope="module")
def model():
    return GRUTranscriber(**QUICK | PLAIN | {"hidden_size": 16, "max_iter": 40}).fit(X, Y)


# --- what they learn --------------------------------------------------------------------------------
def test_recordings_are_understood(model):
    """Others than those that were learnt from, with labels twice in a row, longer, and silent ones."""
    rng = np.random.default_rng(1)
    texts = ["", "aa", "abba", "cccc", "abcabcabcabc", "c"]
    assert model.predict([spoken(text, rng) for text in texts]).tolist() == texts


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (LSTMTranscriber, {"bidirectional": False, "stack_frames": 1, "device": "auto"}),
        (RNNTranscriber, {"cell": "gru", "num_layers": 2, "recurrent_dropout": 0.1}),
        (RNNTranscriber, {"bidirectional": False, "solver": "sgd", "learning_rate_init": 0.05}),
        (GRUTranscriber, {"early_stopping": True, "tol": 0.0, "reset_after": False, "batch_size": 7}),
        (GRUTranscriber, {"speeds": (0.8, 1.25), "time_masks": 1, "feature_masks": 1, "dtype": "float32"}),
    ],
)
def test_options(cls, options):
    """Each learns something, is stored whole, and a copy goes on from it."""
    options = QUICK | {"max_iter": 10} | options
    learnt = cls(**options).fit(X, Y)
    begun = cls(**options | {"learning_rate_init": 1e-12, "max_iter": 1}).fit(X, Y)
    assert learnt.log_prob(X, Y).mean() > begun.log_prob(X, Y).mean() + 1
    again = pickle.loads(pickle.dumps(learnt))
    learnt.partial_fit(X, Y), again.partial_fit(X, Y)
    for name, array in learnt.weights_.items():
        np.testing.assert_array_equal(again.weights_[name], array, err_msg=name)


@pytest.mark.parametrize(
    "changed",
    [
        {"time_masks": 2},
        {"feature_masks": 2, "feature_mask_share": 0.5},
        {"dropout": 0.3},
        {"speeds": [0.8]},
        {"recurrent_dropout": 0.3},
        {"random_state": 1},
    ],
)
def test_what_varies_in_training_only(changed):
    """The same seed fits the same weights; what hides or varies something fits others, and predictions, which
    hide nothing, are repeatable."""
    options = QUICK | PLAIN | {"max_iter": 1}
    plain, varied, again = (GRUTranscriber(**options | own).fit(X, Y) for own in ({}, changed, changed))
    assert not np.array_equal(plain.weights_["head.weight"], varied.weights_["head.weight"])
    np.testing.assert_array_equal(varied.weights_["head.weight"], again.weights_["head.weight"])
    np.testing.assert_array_equal(varied.log_prob(X, Y), again.log_prob(X, Y))


def test_training_goes_on():
    options = QUICK | PLAIN
    model = GRUTranscriber(**options | {"warm_start": True}).fit(X, Y)
    before = model.log_prob(X, Y).mean()
    assert model.fit(X, Y).n_iter_ == 4
    assert model.log_prob(X, Y).mean() > before
    for texts, wanted in ([*Y[:-1], "abd"], r"y\[59\] has a label that label_encoder_ does not know"), (
        Y, "training goes on with hidden_size=8",
    ):  # fmt: skip
        weights = model.weights_
        if texts is Y:
            model.set_params(hidden_size=9)
        with pytest.raises(ValueError, match=wanted):
            model.fit(X, texts)
        assert model.weights_ is weights
    with pytest.raises(ValueError, match="has shape"):
        model.set_params(hidden_size=8, stack_frames=2).fit(X, Y)


def test_validation():
    """The best weights on what is held back; their score is 1 - label error rate of the best paths."""
    model = GRUTranscriber(**QUICK | PLAIN | {"max_iter": 30, "early_stopping": True, "beam_size": 1})
    held_back = X[:20], Y[:20]
    model.fit(X[20:], Y[20:], X_val=held_back[0], y_val=held_back[1])
    assert model.best_validation_score_ == np.nanmax(model.history_["validation_score"])
    assert model.score(*held_back) == pytest.approx(model.best_validation_score_)


def test_the_scale_of_features_does_not_matter():
    """Nor their place; a feature that is constant says nothing."""
    options = QUICK | PLAIN
    plain = GRUTranscriber(**options).fit([np.c_[x, np.zeros(len(x))] for x in X], Y)
    for scale, place in (1e-9, 0.0), (1e9, 1e9), (1e200, 0.0):
        own = [np.c_[x * scale + place, np.full(len(x), 3.0)] for x in X]
        other = GRUTranscriber(**options).fit(own, Y)
        np.testing.assert_allclose(
            other.log_prob(own, Y), plain.log_prob([np.c_[x, x[:, :1] * 0] for x in X], Y)
        )
    with pytest.raises(ValueError, match=r"X\[1\] is too large: float32"):
        GRUTranscriber(**options | {"dtype": "float32"}).fit(X, Y).predict([X[0], X[1] * 1e39])


def test_what_is_held_back_keeps_its_place():
    """Mistakes are named by their place in X; other features of X_val are refused."""
    short = [*X[:17], X[17][:2], *X[18:]]
    texts = [*Y[:17], "abcabc", *Y[18:]]
    model = GRUTranscriber(**QUICK | {"early_stopping": True, "validation_fraction": 0.3, "random_state": 1})
    with pytest.raises(ValueError, match=r"X\[17\] has 2 frames, .* y\[17\] need 6"):
        model.fit(short, texts)
    with pytest.raises(ValueError, match=r"X_val\[0\] has 1 features, expected 4"):
        GRUTranscriber(**QUICK).fit(X, Y, X_val=[x[:, :1] for x in X], y_val=Y)


def test_faster_and_stacked_frames():
    frames = np.c_[np.arange(10.0), np.arange(10.0) ** 2]
    np.testing.assert_allclose(faster(frames, 2.0)[:, 0], [0, 2, 4, 6, 8])
    np.testing.assert_allclose(faster(frames, 0.5)[:4, 0], [0, 0.5, 1, 1.5])
    assert len(faster(frames, 0.5)) == 20
    np.testing.assert_array_equal(stacked(frames[:5, :1], 2), [[0, 1], [2, 3], [4, 4]])


# --- what they say ------------------------------------------------------------------------------------
def test_score_and_error_rate(model):
    rng = np.random.default_rng(2)
    texts = ["ab", "ca", "bbb"]
    own = [spoken(text, rng) for text in texts]
    wrong = ["ab", "caz", "bb"]  # one label that was never seen, one too few
    assert model.score(own, wrong) == pytest.approx(1 - 2 / 7)
    assert model.score(own, wrong) == pytest.approx(1 - character_error_rate(wrong, model.predict(own)))


def test_the_best_and_how_probable_they_are(model):
    """A wide search finds all paths of what it keeps."""
    own = X[:6]
    for recording, best in zip(own, model.predict_n_best(own, 400), strict=True):
        exact = model.log_prob([recording] * len(best[:5]), [text for text, _ in best[:5]])
        found = [log_prob for _, log_prob in best[:5]]
        assert found == sorted(found, reverse=True)
        np.testing.assert_allclose(found, exact, atol=1e-6)
        assert len({text for text, _ in best}) == len(best)
    narrow = clone(model).set_params(beam_size=1)
    narrow.__dict__.update({k: v for k, v in vars(model).items() if k != "beam_size"})
    assert narrow.predict(own).tolist() == model.predict(own).tolist()
    assert [len(best) for best in model.predict_n_best(own, 1)] == [1] * 6


def test_alone_and_among_others(model):
    """To the bit, whatever the threads."""
    together, log_prob = model.predict_n_best(X, 3), model.log_prob(X, Y)
    for i in range(0, 60, 7):
        assert model.predict_n_best(X[i : i + 1], 3)[0] == together[i]
        assert model.log_prob(X[i : i + 1], Y[i : i + 1])[0] == log_prob[i]
    threads = pickle.loads(pickle.dumps(model)).set_params(n_jobs=2)
    np.testing.assert_array_equal(threads.log_prob(X, Y), log_prob)


def test_what_cannot_be_said(model):
    """Too few frames, or a label that was never seen: of no probability."""
    frames = X[0][:3]
    found = model.log_prob([frames] * 4, ["abc", "aab", "aa", "d"])
    assert np.isfinite(found[[0, 2]]).all()
    assert (found[[1, 3]] == -np.inf).all()
    assert model.log_prob([frames[:1]], [""])[0] < 0
    assert isinstance(model.predict([frames[:1]])[0], str)


def test_alignment(model):
    """Each label within the frames that say it, in their order, and in seconds where the step is known."""
    said = [3, 3, 0, 0, 0, 3, 3, 1, 1, 3, 1, 1, 3]
    (found,) = model.predict_alignment([np.eye(4)[said]])
    assert "".join(one.label for one in found) == "abb"
    for one, (first, last) in zip(found, [(1, 6), (6, 9), (9, 12)], strict=True):
        assert first <= one.first_frame <= one.last_frame <= last
        assert np.isnan(one.start)
    (given,) = model.predict_alignment([np.eye(4)[said]], ["ab"])
    assert [one.label for one in given] == ["a", "b"]
    assert pd.DataFrame(found).columns.tolist() == ["label", "first_frame", "last_frame", "start", "end"]


def test_seconds_and_stacked_frames():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abc"), rng.integers(1, 4))) for _ in range(40)]
    signals = [tones(text, rng) for text in texts]
    model = GRUTranscriber(**QUICK | PLAIN | {"max_iter": 40, "features": MEL, "stack_frames": 2})
    model.fit(signals, texts)
    signal = tones("acb", rng)
    (found,) = model.predict_alignment([signal])
    assert [one.label for one in found] == ["a", "c", "b"]
    for k, one in enumerate(found):
        assert one.first_frame % 2 == 0
        assert one.start == pytest.approx(one.first_frame * 0.01)
        assert one.end == pytest.approx((one.last_frame + 1) * 0.01)
        assert 0.05 + 0.15 * k - 0.03 < one.start < 0.05 + 0.15 * (k + 1) + 0.03
    assert model.weights_["weight_ih_l0"].shape[1] == 16
    assert model.n_features_in_ == 8


def test_a_search_finds_more_probable_labels():
    """Than the best path, where nothing is certain."""
    model = GRUTranscriber(**QUICK | PLAIN | {"max_iter": 6}).fit(X, Y)
    wide = model.predict(X).tolist()
    best_paths = model.set_params(beam_size=1).predict(X).tolist()
    assert wide != best_paths
    more = model.log_prob(X, wide) - model.log_prob(X, best_paths)
    assert more.min() > -1e-9
    assert more.max() > 0.01
    assert len(model.predict_n_best(X[:1], 1)[0]) == 1


def test_parameters_set_after_the_fit(model):
    """What a prediction can go by it does; the rest waits for the next fit."""
    changed = pickle.loads(pickle.dumps(model))
    changed.set_params(dtype="float32", stack_frames=3, hidden_size=99, features=MEL, label_encoder="word")
    np.testing.assert_array_equal(changed.log_prob(X, Y), model.log_prob(X, Y))


# --- as it comes ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("stack", [1, 3])
def test_a_stream_of_frames(stack):
    """In chunks of any size what the best path of the whole is."""
    options = QUICK | PLAIN | {"bidirectional": False, "stack_frames": stack, "max_iter": 15}
    own = [np.repeat(frames, stack, axis=0) for frames in X]
    model = GRUTranscriber(**options, beam_size=1).fit(own, Y)
    rng, live = np.random.default_rng(0), model.stream()
    for frames in own[:8]:
        live.reset()
        said, at = [], 0
        while at < len(frames):
            size = rng.integers(0, 5)
            said += live.push(frames[at : at + size])
            at += size
        assert "".join(said) == live.text == model.predict([frames])[0]


def test_a_stream_is_its_own():
    """Copies go on by themselves; a later fit, and mistakes, do not change it."""
    options = QUICK | PLAIN | {"bidirectional": False, "stack_frames": 2, "max_iter": 15}
    model = GRUTranscriber(**options, beam_size=1).fit(X, Y)
    expected, live = model.predict(X[:1])[0], model.stream()
    live.push(X[0][:3])
    copies = copy(live), pickle.loads(pickle.dumps(live)), live
    model.set_params(stack_frames=1, hidden_size=4).fit(
        [x * 100 for x in X], [t.replace("a", "z") for t in Y]
    )
    for each in copies:
        for chunk in 3.0, "a", X[0][:, :1], X[0][0], np.full((2, 4), np.nan):
            with pytest.raises(ValueError, match="chunk"):
                each.push(chunk)
        each.push(X[0][3:])
        odd = np.concatenate([X[0], X[0][-1:]])[len(X[0]) :] if len(X[0]) % 2 else np.empty((0, 4))
        each.push(odd)  # `predict` repeats the last frame where too few are left
        assert each.text == expected
        each.push(X[0][:1])  # waits
        each.reset()
        each.push(X[0])
        each.push(odd)
        assert each.text == expected


def test_a_stream_of_samples():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abc"), rng.integers(1, 4))) for _ in range(40)]
    signals = [tones(text, rng) for text in texts]
    features = clone(MEL).set_params(normalize=None)
    model = LSTMTranscriber(
        **QUICK | PLAIN | {"max_iter": 80, "features": features, "bidirectional": False}, beam_size=1
    )
    model.fit(signals, texts)
    live, signal = model.stream(), tones("bca", rng)
    for chunk in np.array_split(signal, 37):
        live.push(chunk)
    heard = model.predict([signal])[0]
    assert live.text == heard != ""
    with pytest.raises(ValueError, match="samples has nan"):
        live.push([np.nan])
    assert live.text == heard
    with pytest.raises(ValueError, match="normalize"):
        clone(model).set_params(features=MEL).fit(signals, texts).stream()


# --- what they read ---------------------------------------------------------------------------------------
def test_files_signals_and_frames(tmp_path):
    """All three say the same."""
    rng = np.random.default_rng(0)
    texts = ["a", "b", "ab", "ba"] * 5
    signals = [(tones(text, rng) * 32767).astype(np.int16) for text in texts]
    paths = []
    for i, signal in enumerate(signals):
        paths.append(tmp_path / f"{i}.wav")
        wavfile.write(paths[-1], 8000, signal)
    options = QUICK | PLAIN | {"speeds": None}
    by_path = GRUTranscriber(**options, features=MEL).fit(paths, texts)
    by_signal = GRUTranscriber(**options, features=MEL).fit(pd.Series(signals), pd.Series(texts))
    by_frames = GRUTranscriber(**options).fit(MEL.transform(signals), texts)
    in_a_line = make_pipeline(MEL, GRUTranscriber(**options)).fit(signals, texts)
    expected = by_path.log_prob(paths, texts)
    np.testing.assert_array_equal(by_signal.log_prob(paths, texts), expected)
    np.testing.assert_array_equal(by_frames.log_prob(MEL.transform(paths), texts), expected)
    assert in_a_line.predict(paths).tolist() == by_path.predict(signals).tolist()
    assert by_path.features_ is not MEL
    assert GRUTranscriber(**options).fit(signals, texts).features_.sample_rate == 16000
    assert GRUTranscriber(**options, features=MFCC(8000, n_mels=20)).fit(paths, texts).n_features_in_ == 13


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        ([["x", "yy"], [], ["yy"]] * 4, ["yy", "x"]),
        (["one two", "", "two"] * 4, ["o", "t", "w", " ", "e", "n"]),
    ],
)
def test_kinds_of_labels(texts, labels):
    model = GRUTranscriber(**QUICK).fit([np.random.default_rng(0).normal(size=(20, 2))] * 12, texts)
    assert model._vocabulary.names()[1 : 1 + len(labels)] == labels
    assert isinstance(model.predict([np.zeros((5, 2))])[0], type(texts[0]))
    assert model.n_tokens_ == len(labels) + 1


def test_words_are_labels():
    model = GRUTranscriber(**QUICK, label_encoder="word").fit(
        [np.random.default_rng(0).normal(size=(20, 2))] * 12, ["stop now", "go", "go now"] * 4
    )
    assert model.n_tokens_ == 4
    assert np.isfinite(model.log_prob([np.zeros((5, 2))], ["stop go"]))
    texts = {text for text, _ in model.predict_n_best([np.zeros((5, 2))], 30)[0]}
    assert {"stop", "go now"} <= texts


def test_searches_and_pipelines():
    search = GridSearchCV(GRUTranscriber(**QUICK), {"hidden_size": [4, 8]}, cv=2, n_jobs=2).fit(X, Y)
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])
    assert len(cross_val_predict(GRUTranscriber(**QUICK), X, np.array(Y, object), cv=2)) == 60
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert again.predict(X).tolist() == search.predict(X).tolist()


# --- mistakes ---------------------------------------------------------------------------------------------
FRAMES = np.zeros((4, 2))
BAD = [
    ([FRAMES], ["ab", "a"], {}, ValueError, "X has 1 recordings and y 2 items"),
    ([FRAMES, FRAMES], ["ab", "aabbc"], {}, ValueError, r"X\[1\] has 4 frames, .* y\[1\] need 7"),
    ([FRAMES], ["abc"], {"stack_frames": 2}, ValueError, r"2 steps with stack_frames=2, but the 3"),
    ([FRAMES, np.zeros((4, 3))], ["a", "b"], {}, ValueError, r"X\[1\] has 3 features, expected 2"),
    ([FRAMES, np.full((4, 2), np.nan)], ["a", "b"], {}, ValueError, r"X\[1\] holds nan in feature 0 of "),
    ([FRAMES, np.zeros((0, 2))], ["a", "b"], {}, ValueError, r"X\[1\] has no frames"),
    ([FRAMES, "a.wav"], ["a", "b"], {}, ValueError, r"X\[1\] is a path, not frames of shape"),
    ([FRAMES, np.zeros((2, 2), object)], ["a", "b"], {}, ValueError, r"X\[1\] must be frames"),
    (FRAMES[0], ["a"], {}, ValueError, "X is one signal"),
    ("a.wav", ["a"], {}, ValueError, "X is one path"),
    (7, ["a"], {}, ValueError, "X must be a list of recordings, got 7"),
    ([], [], {}, ValueError, "X has no recordings"),
    (["no.wav"], ["a"], {}, FileNotFoundError, r"X\[0\]: there is no file 'no.wav'"),
    ([np.zeros(400), np.full(400, np.inf)], ["a", "b"], {}, ValueError, r"X\[1\] has inf at sample 0"),
    ([FRAMES], "a", {}, ValueError, "y is one text"),
    ([FRAMES], [3], {}, TypeError, "y: "),
    ([FRAMES], [""], {}, ValueError, "y: there is no vocabulary"),
    ([FRAMES], ["a"], {"speeds": (0.0,)}, ValueError, "speeds"),
    ([FRAMES], ["a"], {"speeds": 1.1}, ValueError, "speeds"),
    ([FRAMES], ["a"], {"beam_size": 0}, ValueError, "beam_size"),
    ([FRAMES], ["a"], {"stack_frames": 0}, ValueError, "stack_frames"),
    ([FRAMES], ["a"], {"features": "mel"}, ValueError, "features"),
    ([FRAMES], ["a"], {"time_mask_share": 1.5}, ValueError, "time_mask_share"),
    ([FRAMES], ["a"], {"early_stopping": True}, ValueError, "holds back all of 1 pairs"),
]  # fmt: skip


@pytest.mark.parametrize(("X", "y", "options", "error", "message"), BAD)
def test_pairs_that_are_none(X, y, options, error, message):
    model = GRUTranscriber(**QUICK | options)
    with pytest.raises(error, match=message):
        model.fit(X, y)
    assert not hasattr(model, "weights_")


def test_what_cannot_be_asked(model):
    with pytest.raises(ValueError, match="bidirectional=True"):
        model.stream()
    with pytest.raises(ValueError, match=r"X\[0\] has 3 features, expected 4"):
        model.predict([np.zeros((5, 3))])
    with pytest.raises(ValueError, match=r"X\[0\] has 2 frames, but the 2 labels of y\[0\] need 3"):
        model.predict_alignment([np.zeros((2, 4))], ["aa"])
    with pytest.raises(ValueError, match=r"y\[0\] has a label that label_encoder_ does not know"):
        model.predict_alignment([np.zeros((2, 4))], ["z"])
    with pytest.raises(ValueError, match="X has 1 recordings and y 2 items"):
        model.score([np.zeros((2, 4))], ["a", "b"])
    with pytest.raises(ValueError, match="n must be"):
        model.predict_n_best(X, 0)
    with pytest.raises(NotFittedError):
        GRUTranscriber().predict(X)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=gpu.needs_gpu)])
def test_on_a_gpu(device):
    options = QUICK | {"hidden_size": 4, "max_iter": 1, "batch_size": 8}
    here, there = (GRUTranscriber(**options, device=d).fit(X[:12], Y[:12]) for d in ("cpu", device))
    for name, array in here.weights_.items():
        np.testing.assert_allclose(there.weights_[name], array, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(there.log_prob(X[:4], Y[:4]), here.log_prob(X[:4], Y[:4]), atol=1e-8)
    assert there.predict(X[:4]).tolist() == here.predict(X[:4]).tolist()

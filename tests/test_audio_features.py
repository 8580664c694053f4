"""Log mel spectrograms and cepstra: the numbers of Kaldi and librosa, and what is asked of transformers."""

import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.io import wavfile
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from skrnn import GRUClassifier
from skrnn.audio import MFCC, LogMelSpectrogram

SIGNAL = np.random.default_rng(0).normal(size=12345).astype(np.float32) / 10
CLASSES = [LogMelSpectrogram, MFCC]


def tone(f, t):
    return np.sin(2 * np.pi * f * t)


def signals(rate, n):
    """Noise, tones beside a constant, a chirp that begins in silence."""
    rng, t = np.random.default_rng(n), np.arange(n) / rate
    yield rng.normal(size=n) / 10
    yield 0.2 + tone(300, t) / 2 + tone(1234.5, t) / 8 + rng.normal(size=n) / 1000
    yield np.where(t < t[-1] / 3, 0.0, tone(500, t * (1 + t)) / 2 + rng.normal(size=n) / 100)


def kaldi(x, rate, cls, f_min=20.0, f_max=None, n_mels=23, length=25.0, step=10.0):
    fbank = pytest.importorskip("kaldi_native_fbank")
    options = fbank.FbankOptions() if cls is LogMelSpectrogram else fbank.MfccOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = rate
    options.frame_opts.frame_length_ms, options.frame_opts.frame_shift_ms = length, step
    options.mel_opts.num_bins = n_mels
    options.mel_opts.low_freq, options.mel_opts.high_freq = f_min, f_max or 0
    if cls is MFCC:
        options.use_energy = False
    online = (fbank.OnlineFbank if cls is LogMelSpectrogram else fbank.OnlineMfcc)(options)
    online.accept_waveform(rate, x.tolist())
    online.input_finished()
    return np.array([online.get_frame(i) for i in range(online.num_frames_ready)])


# --- the numbers ------------------------------------------------------------------------------------
@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
@pytest.mark.parametrize("n", [1103, 12345])
@pytest.mark.parametrize("limits", [{}, {"f_min": 100.0, "f_max": 3500.0}, {"f_min": 0.0}], ids=str)
def test_the_numbers_are_kaldis(cls, rate, n, limits):
    """Which computes in float32: in frames with tones, bands 75 dB below them have its rounding in the fourth
    place. Cepstra sum up 23 logarithms, times up to 12."""
    transformer = cls(rate, n_mels=23, normalize=None, **limits)
    for x, loss in zip(signals(rate, n), (1, 10, 10), strict=True):
        x = x.astype(np.float32)
        mine = transformer.transform([x])[0]
        assert mine.dtype == np.float32
        tolerance = loss * (5e-5 if cls is LogMelSpectrogram else 2e-4)
        np.testing.assert_allclose(mine, kaldi(x, rate, cls, **limits), rtol=0, atol=tolerance)


@pytest.mark.parametrize(("n_mels", "length", "step"), [(80, 25.0, 10.0), (40, 32.0, 8.0), (3, 20.0, 20.0)])
def test_other_frames_are_kaldis(n_mels, length, step):
    own = LogMelSpectrogram(n_mels=n_mels, frame_length=length / 1e3, frame_step=step / 1e3, normalize=None)
    theirs = kaldi(SIGNAL, 16000, LogMelSpectrogram, n_mels=n_mels, length=length, step=step)
    np.testing.assert_allclose(own.transform([SIGNAL])[0], theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("rate", [8000, 16000, 22050])
@pytest.mark.parametrize("n", [300, 5000, 12345])
@pytest.mark.parametrize("limits", [{}, {"f_min": 100.0, "f_max": 3500.0}], ids=str)
def test_the_numbers_are_librosas(cls, rate, n, limits):
    """In float64, so that only the rounding of the result and of the filters is left. 22,050 Hz has frames of
    551 samples; 300 samples are less than one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it imports may have warnings of its own
        librosa = pytest.importorskip("librosa")
        transformer = cls(rate, n_mels=23, normalize=None, convention="librosa", **limits)
        options = {
            "sr": rate, "n_fft": rate // 40, "hop_length": rate // 100, "n_mels": 23,
            "fmin": limits.get("f_min", 20.0), "fmax": limits.get("f_max"), "pad_mode": "constant",
        }  # fmt: skip
        for x in (*signals(rate, n), SIGNAL[:n].astype(float) * 1e-6):
            if cls is MFCC:
                theirs = librosa.feature.mfcc(y=x, n_mfcc=13, **options)
            else:
                theirs = librosa.power_to_db(librosa.feature.melspectrogram(y=x, **options))
            np.testing.assert_allclose(transformer.transform([x])[0], theirs.T, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("cls", CLASSES)
def test_some_numbers_of_librosa(cls):
    """Of librosa 0.11, which need not be installed."""
    t = np.arange(400) / 8000
    x = 0.3 * tone(500, t) + 0.2 * tone(1800, t * (1 + t))
    options = {"n_mels": 4, "convention": "librosa", "normalize": None}
    if cls is LogMelSpectrogram:
        expected = [
            [-4.910721, -17.733936, -11.742628, -17.334435],
            [-1.600609, -15.940385, -8.750043, -14.088879],
            [-1.597174, -15.942198, -8.998058, -13.59944],
            [-1.597173, -15.942204, -9.264651, -13.160577],
            [-1.601035, -15.923988, -9.55022, -12.764771],
            [-4.947032, -16.392741, -12.701459, -15.593078],
        ]
    else:
        options |= {"n_mfcc": 3}
        expected = [
            [-25.86086, 6.494946, 3.615704],
            [-20.189958, 6.212663, 4.50047],
            [-20.068435, 5.961787, 4.871821],
            [-19.982303, 5.747225, 5.224552],
            [-19.920007, 5.568333, 5.554201],
            [-24.817155, 5.956011, 4.277046],
        ]
    np.testing.assert_allclose(cls(8000, **options).transform([x])[0], expected, atol=2e-6)


def kaldis_deltas(table, order):
    """Kaldi's DeltaFeatures, frame by frame."""
    scales = [np.ones(1)]
    for _ in range(order):
        new = np.zeros(len(scales[-1]) + 4)
        for j in range(-2, 3):
            for k, scale in enumerate(scales[-1]):
                new[j + 2 + k] += j * scale / 10
        scales.append(new)
    out = np.zeros((len(table), len(scales), table.shape[1]))
    for t in range(len(table)):
        for i, own in enumerate(scales):
            half = len(own) // 2
            for j in range(-half, half + 1):
                out[t, i] += own[j + half] * table[min(max(t + j, 0), len(table) - 1)]
    return out.reshape(len(table), -1)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("n", [300, 500, 800, 4000])
@pytest.mark.parametrize("convention", ["kaldi", "librosa"])
def test_deltas_are_kaldis(order, n, convention):
    options = {"n_mels": 20, "n_mfcc": 5, "convention": convention, "normalize": None}
    plain = MFCC(**options).transform([SIGNAL[:n]])[0]
    with_deltas = MFCC(**options, deltas=order).transform([SIGNAL[:n]])[0]
    np.testing.assert_allclose(with_deltas, kaldis_deltas(plain, order), atol=1e-5)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("convention", ["kaldi", "librosa"])
@pytest.mark.parametrize("deltas", [0, 2])
def test_normalized_features_have_mean_0_and_deviation_1(cls, convention, deltas):
    transformer = cls(convention=convention, deltas=deltas)
    whole = transformer.transform([SIGNAL])[0].astype(np.float64)
    plain = clone(transformer).set_params(normalize=None).transform([SIGNAL])[0].astype(np.float64)
    np.testing.assert_allclose(whole, (plain - plain.mean(axis=0)) / plain.std(axis=0), atol=1e-4)
    np.testing.assert_allclose(whole.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(whole.std(axis=0), 1, atol=1e-6)
    if convention == "kaldi" and cls is LogMelSpectrogram:  # whatever the loudness
        np.testing.assert_allclose(transformer.transform([SIGNAL * 3])[0], whole, atol=1e-4)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("convention", ["kaldi", "librosa"])
@pytest.mark.parametrize("value", [0.0, 0.3, -1.0])
@pytest.mark.parametrize("n", [1, 2, 399, 400, 4001])
def test_silence_and_constants_are_finite(cls, convention, value, n):
    for normalize in None, "recording":
        frames = cls(convention=convention, normalize=normalize, deltas=2).transform([np.full(n, value)])[0]
        assert len(frames) >= 1
        assert np.isfinite(frames).all()
        if normalize and (convention == "kaldi" or value == 0):
            assert not frames.any()


def test_rounding_is_not_blown_up():
    """A period of a tone for each step: all frames are the same but for rounding."""
    x = tone(100, np.arange(16000) / 16000)
    assert not LogMelSpectrogram().transform([x])[0].any()


@pytest.mark.parametrize("n", [1, 7, 399])
def test_a_signal_shorter_than_a_frame_is_padded(n):
    padded = np.append(SIGNAL[:n], np.zeros(400 - n))
    mel = LogMelSpectrogram(normalize=None)
    np.testing.assert_array_equal(mel.transform([SIGNAL[:n]])[0], mel.transform([padded])[0])


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
@pytest.mark.parametrize("n", [551, 552, 900, 4000, 12345])
def test_how_many_frames_there_are(rate, n):
    length, step = int(0.025 * rate), int(0.01 * rate)
    x = [np.zeros(n)]
    assert len(LogMelSpectrogram(rate, n_mels=9).transform(x)[0]) == 1 + (n - length) // step
    centred = LogMelSpectrogram(rate, n_mels=9, convention="librosa").transform(x)[0]
    assert len(centred) == 1 + (n - length % 2) // step


def test_seconds_are_not_cut_by_rounding():
    """0.018 * 48000 is less than 864 in floating point."""
    mel = LogMelSpectrogram(48000, frame_length=0.018, frame_step=0.018)
    assert [len(frames) for frames in mel.transform([np.zeros(1727), np.zeros(1728)])] == [1, 2]


# --- transformers -----------------------------------------------------------------------------------
@pytest.mark.parametrize("cls", CLASSES)
def test_what_a_transformer_does(cls):
    transformer = cls(8000, n_mels=15, deltas=1)
    assert not get_tags(transformer).requires_fit
    frames = transformer.transform([SIGNAL, SIGNAL[:900]])
    assert frames.dtype == object
    assert frames.shape == (2,)
    for other in (
        clone(transformer).fit([SIGNAL]),
        pickle.loads(pickle.dumps(transformer)),
        clone(transformer).set_output(transform="pandas"),
    ):
        for a, b in zip(frames, other.transform([SIGNAL, SIGNAL[:900]]), strict=True):
            np.testing.assert_array_equal(a, b)
    names = transformer.get_feature_names_out().tolist()
    first, n = ("mel0", 15) if cls is LogMelSpectrogram else ("mfcc0", 13)
    assert names[::n] == [first, f"delta_{first}"]
    assert len(names) == len(set(names)) == frames[0].shape[1] == transformer.fit().n_features_out_
    last = "delta2_mel39" if cls is LogMelSpectrogram else "delta2_mfcc12"
    assert cls(deltas=2).get_feature_names_out()[-1] == last


def test_forms_of_X(tmp_path):
    x = np.round(SIGNAL * 20000).astype(np.int16)
    wavfile.write(tmp_path / "a.wav", 16000, x)
    path = tmp_path / "a.wav"
    mel = LogMelSpectrogram()
    expected = mel.transform([x / 32768])[0]
    ragged = np.empty(2, object)
    ragged[:] = [x, x / np.float32(32768)]
    for X in (
        [x], [(x / 32768).tolist()], (x,), x[None], np.stack([x, x]), ragged, [path], [str(path), x],
        np.array([str(path)]), pd.Series([str(path), path]), pd.Series([x, x]), pd.DataFrame(x[None] / 32768),
        [pd.Series(x)],
    ):  # fmt: skip
        for frames in mel.transform(X):
            np.testing.assert_allclose(frames, expected, atol=1e-4)
    unscaled = LogMelSpectrogram(normalize=None)
    np.testing.assert_allclose(
        unscaled.transform([x.astype(float)])[0], unscaled.transform([x])[0] + 2 * np.log(32768), atol=1e-4
    )


def test_in_a_pipeline_and_a_search(tmp_path):
    """Low and high tones in noise, as files of a rate that is not the transformer's."""
    rng, t = np.random.default_rng(0), np.arange(2400) / 12000
    paths, y = [], np.array(["low", "high"] * 10)
    for i, label in enumerate(y):
        x = 0.3 * tone(300 if label == "low" else 2500, t + rng.uniform()) + 0.05 * rng.normal(size=len(t))
        path = tmp_path / f"{i}.wav"
        wavfile.write(path, 12000, x.astype(np.float32))
        paths.append(str(path))
    steps = LogMelSpectrogram(8000, normalize=None), GRUClassifier(4, max_iter=15, random_state=0)
    search = GridSearchCV(make_pipeline(*steps), {"logmelspectrogram__n_mels": [10, 20]}, cv=2)
    search.fit(paths, y)
    assert search.best_score_ == 1
    assert search.predict(paths).tolist() == y.tolist()


# --- streams ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(
    "options", [{}, {"frame_step": 0.025}, {"frame_step": 0.0005, "n_mels": 13}, {"sample_rate": 22050}]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_stream_has_the_bits_of_the_whole(cls, options, seed):
    """However the samples come in."""
    rng = np.random.default_rng(seed)
    transformer = cls(**options, normalize=None)
    stream, whole = transformer.stream(), transformer.transform([SIGNAL])[0]
    for most in (30, 3000, len(SIGNAL) + 1):
        stream.reset()
        parts, first = [], 0
        while first < len(SIGNAL):
            n = rng.integers(0, most)
            parts.append(stream.push(SIGNAL[first : first + n]))
            assert parts[-1].dtype == np.float32
            first += n
            if first > 6000:
                stream = pickle.loads(pickle.dumps(stream))
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_stream_stays_what_it_was():
    mel = LogMelSpectrogram(normalize=None, n_mels=10)
    stream, whole = mel.stream(), mel.transform([SIGNAL[:1000]])[0]
    mel.set_params(deltas=2, normalize="recording")
    parts = [stream.push(SIGNAL[:390])]
    for bad, message in (
        ([0.0] * 100 + [np.nan], "samples has nan at sample 100"),
        (np.zeros((30, 2)), "samples has shape (30, 2) and looks like stereo"),
        (["a"], "samples must hold floats"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            stream.push(bad)
    parts += [stream.push([]), stream.push(SIGNAL[390:1000].tolist())]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    stream.reset()
    ints = np.array([100, -200] * 200, np.int16)
    np.testing.assert_array_equal(
        stream.push(ints), LogMelSpectrogram(normalize=None, n_mels=10).transform([ints])[0]
    )


# --- what is refused --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"f_max": 8001.0}, "f_max=8001.0 is above half of sample_rate=16000"),
        ({"sample_rate": 8000, "f_max": 8000.0}, "f_max=8000.0 is above half of sample_rate=8000"),
        ({"f_max": np.inf}, "'f_max' parameter"),
        ({"f_min": 300.0, "f_max": 300.0}, "f_min=300.0 must be below f_max=300.0"),
        ({"f_min": 8000.0}, "f_min=8000.0 must be below f_max=8000.0"),
        ({"n_mfcc": 41}, "n_mfcc=41 must be n_mels=40 at most"),
        ({"frame_length": 0.0001}, "frame_length=0.0001 is 1 samples at sample_rate=16000"),
        ({"frame_step": 0.00005}, "frame_step=5e-05 is less than a sample at sample_rate=16000"),
        ({"frame_step": 0.03}, "frame_step=0.03 is longer than frame_length=0.025"),
        ({"n_mels": 200}, "n_mels=200 is too many for frames of 400 samples: filter "),
        ({"n_mels": 200, "convention": "librosa"}, "n_mels=200 is too many for frames of 400 samples"),
        ({"sample_rate": 0}, "'sample_rate' parameter"),
        ({"sample_rate": 16000.0}, "'sample_rate' parameter"),
        ({"frame_length": 25}, "'frame_length' parameter"),  # milliseconds
        ({"frame_step": 0.0}, "'frame_step' parameter"),
        ({"frame_step": np.nan}, "'frame_step' parameter"),
        ({"n_mels": 0}, "'n_mels' parameter"),
        ({"n_mfcc": 0}, "'n_mfcc' parameter"),
        ({"f_min": -1.0}, "'f_min' parameter"),
        ({"f_max": -100.0}, "'f_max' parameter"),
        ({"convention": "htk"}, "'convention' parameter"),
        ({"deltas": 3}, "'deltas' parameter"),
        ({"normalize": "mean"}, "'normalize' parameter"),
        ({"normalize": False}, "'normalize' parameter"),
    ],
    ids=str,
)
def test_bad_parameters(parameters, message):
    transformer = MFCC(**parameters)
    for call in transformer.fit, lambda: transformer.transform([SIGNAL]), transformer.stream:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"normalize": "recording"}, "a stream cannot have normalize='recording', .* set normalize=None"),
        ({"deltas": 1}, "a stream cannot have deltas=1, .* set deltas=0"),
        ({"convention": "librosa"}, "cannot have convention='librosa', .* set convention='kaldi'"),
    ],
    ids=str,
)
def test_streams_that_would_need_the_future(parameters, message):
    with pytest.raises(ValueError, match=message):
        LogMelSpectrogram(**{"normalize": None} | parameters).stream()


STEREO = np.zeros((2, 500))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (SIGNAL, "X is one signal: pass a list of recordings, [X]"),
        (SIGNAL.tolist(), "X is one signal: pass a list of recordings, [X]"),
        ("a.wav", "X is one path: pass a list of recordings, [X]"),
        (STEREO.T, "X has shape (500, 2) and looks like one stereo recording"),
        ([SIGNAL, STEREO], "X[1] has shape (2, 500) and looks like stereo: pass the mean of its"),
        ([STEREO], "mean(axis=0)"),
        ([STEREO.T], "mean(axis=1)"),
        ([SIGNAL, np.zeros((1, 500))], "X[1] must be a signal of shape (n_samples,), got shape (1, "),
        ([SIGNAL, 3.0], "X[1] must be a signal of shape (n_samples,), got shape ()"),
        ([SIGNAL, []], "X[1] is empty"),
        ([SIGNAL, SIGNAL, np.append(SIGNAL[:9], np.nan)], "X[2] has nan at sample 9"),
        (np.array([[0.0, 1.0, -np.inf]]), "X[0] has -inf at sample 2"),
        ([np.arange(500)], "X[0] must hold floats, or integers of uint8, int16, int32"),
        ([SIGNAL > 0], "X[0] must hold floats, or integers"),
        ([SIGNAL + 1j], "X[0] must hold floats, or integers"),
        ([["a.wav"]], "X[0] must hold floats, or integers"),
        ([[[0.0, 1.0], [2.0]]], "X[0] must be a signal of shape (n_samples,)"),
        ([None], "X[0] must be a signal of shape (n_samples,)"),
        ([], "X has no recordings"),
        (None, "X must be a list of recordings, got None"),
        (3, "X must be a list of recordings, got 3"),
        (np.zeros((2, 3, 4)), "X[0] must be a signal of shape (n_samples,), got shape (3, 4)"),
        (pd.DataFrame({"path": ["a.wav"]}), "X must be a list of recordings, got "),
        ({"a": SIGNAL}, "a dict is not read: pass a list"),
    ],
    ids=[f"case{i}" for i in range(24)],
)
def test_bad_X(X, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        LogMelSpectrogram().transform(X)

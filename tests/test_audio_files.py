"""Signals from files, and at other speeds."""

import re
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from skrnn.audio import LogMelSpectrogram, change_speed, read_audio
from skrnn.audio.files import recordings_of

EXACT = np.array([0, 16384, -32768, 100, 32512]) / 32768


def tone(f, rate, n, phase=0.3):
    return np.sin(2 * np.pi * f * np.arange(n) / rate + phase)


def same_inside(a, b, atol=2e-3, edge=200):
    """Away from the ends, where a filter reads what is not there."""
    assert len(a) == len(b)
    np.testing.assert_allclose(a[edge:-edge], b[edge:-edge], atol=atol)


# --- reading ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("as_path", [str, Path, lambda path: str(path).encode()], ids=["str", "Path", "b"])
def test_wav_files_of_all_types(dtype, as_path, tmp_path):
    path = as_path(tmp_path / "ä b.wav")
    samples = EXACT
    if dtype == "uint8":
        samples = np.round(EXACT * 128 + 128)
        expected = (samples - 128) / 128
    else:
        expected = EXACT
        if dtype.startswith("int"):
            samples = EXACT * 2.0 ** (8 * np.dtype(dtype).itemsize - 1)
    wavfile.write(path if isinstance(path, str | Path) else path.decode(), 11025, samples.astype(dtype))
    audio = read_audio(path)
    assert audio.signal.dtype == np.float32
    assert audio.sample_rate == 11025
    np.testing.assert_array_equal(audio.signal, expected.astype(np.float32))
    signal, rate = audio
    assert signal is audio.signal
    assert rate == 11025


@pytest.mark.parametrize(
    ("name", "options", "atol"),
    [
        ("a.wav", {"subtype": "PCM_24"}, 1e-6),
        ("a.wav", {"subtype": "ULAW"}, 0.03),
        ("a.flac", {}, 1e-4),
        ("a.flac", {"subtype": "PCM_24"}, 1e-6),
        ("a.ogg", {}, 0.05),
        ("a.mp3", {}, None),
    ],
)
def test_other_files(name, options, atol, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    x = tone(440, 16000, 8000) / 2
    soundfile.write(tmp_path / name, x, 16000, **options)
    signal, rate = read_audio(tmp_path / name)
    assert rate == 16000
    assert signal.dtype == np.float32
    if atol is not None:
        np.testing.assert_allclose(signal, x, atol=atol)
    else:  # which shifts the signal
        assert abs(signal.std() - x.std()) < 0.02


def test_channels_are_mixed_with_one_warning(tmp_path):
    samples = np.stack([EXACT, -EXACT / 2, EXACT]).T
    for name in "a.wav", "b.wav":
        wavfile.write(tmp_path / name, 16000, samples.astype(np.float32))
    with pytest.warns(UserWarning, match=r"a.wav' has 3 channels: the mean") as caught:
        signal, _ = read_audio(tmp_path / "a.wav")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    np.testing.assert_allclose(signal, EXACT / 2, atol=1e-7)
    X = [EXACT, tmp_path / "a.wav", tmp_path / "b.wav"]
    with pytest.warns(UserWarning, match=r"2 of 3 recordings have several channels, X\[1\] first \(.*a.wav"):
        LogMelSpectrogram().transform(X)
    with pytest.warns(UserWarning, match="several channels") as caught:
        np.testing.assert_array_equal(recordings_of(X, 16000)[2], signal)
    assert len(caught) == 1


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (8000, 16000), (16000, 16000), (22050, 8000)])
def test_another_rate_is_resampled(rate, wanted, tmp_path):
    wavfile.write(tmp_path / "a.wav", rate, tone(440, rate, rate).astype(np.float32))
    signal, got = read_audio(tmp_path / "a.wav", wanted)
    assert got == wanted
    assert signal.dtype == np.float32
    same_inside(signal, tone(440, wanted, wanted))
    (other,) = recordings_of([tmp_path / "a.wav"], wanted)
    np.testing.assert_array_equal(other, signal)


def test_what_the_lower_rate_cannot_hold_is_taken_out(tmp_path):
    wavfile.write(tmp_path / "a.wav", 16000, (tone(6000, 16000, 16000) / 2).astype(np.float32))
    assert abs(read_audio(tmp_path / "a.wav", 8000).signal[100:-100]).max() < 1e-2


def with_chunk(path):
    """A WAV file with a chunk that SciPy does not know, of which it warns."""
    wavfile.write(path, 8000, np.array([1, 2, 3], np.int16))
    data = path.read_bytes() + b"note" + struct.pack("<I", 4) + b"abcd"
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])


def test_more_chunks_are_nobodys_concern(tmp_path):
    with_chunk(tmp_path / "a.wav")
    assert len(read_audio(tmp_path / "a.wav").signal) == 3


def test_a_file_that_ends_early_is_read_with_a_warning(tmp_path):
    path = tmp_path / "a.wav"
    wavfile.write(path, 8000, (EXACT * 32768).astype(np.int16))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.warns(UserWarning, match="ends before its header says: 3 samples are read"):
        signal, _ = read_audio(path)
    np.testing.assert_array_equal(signal, EXACT[:3].astype(np.float32))


def write_wav(samples, rate=8000):
    return lambda path: wavfile.write(path, rate, samples)


def cut_wav(n):
    def write(path):
        wavfile.write(path, 8000, np.ones(50, np.int16))
        path.write_bytes(path.read_bytes()[:n])

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"this is no audio at all" * 9), "cannot be read as audio"),
        (write_wav(np.empty(0, np.int16)), "has no samples"),
        (write_wav(np.empty((0, 2), np.float32)), "has no samples"),
        (cut_wav(12), "cannot be read as a WAV file"),
        (cut_wav(20), "cannot be read as a WAV file"),
        (cut_wav(36), "cannot be read as a WAV file"),
        (write_wav(np.array([0, np.nan, 1], np.float32)), "has nan at sample 1"),
        (write_wav(np.array([[0, 0], [1, 1], [2, -np.inf]])), "has -inf at sample 2"),
        (write_wav(np.ones(9, np.int16), rate=0), "cannot be read as a WAV file: its sampling rate is 0"),
        (write_wav(np.ones(9, np.int16), rate=2 * 10**9), "cannot be read as a WAV file: its sampling rate"),
        (write_wav(np.array([0.0, 1e300])), "has inf at sample 1"),
    ],
    ids=[
        "empty",
        "text",
        "none",
        "none of stereo",
        "cut12",
        "cut20",
        "cut36",
        "nan",
        "inf",
        "rate",
        "high rate",
        "large",
    ],
)
def test_bad_files(write, message, tmp_path):
    pytest.importorskip("soundfile")
    path = tmp_path / "bad.wav"
    write(path)
    name = re.escape(repr(str(path)))
    with pytest.raises(ValueError, match=f"^{name} {message}"):
        read_audio(path)
    with pytest.raises(ValueError, match=f"^X\\[1\\]: {name} {message}"):
        LogMelSpectrogram().transform([np.ones(9), str(path)])


def test_bad_paths(tmp_path):
    missing = str(tmp_path / "no.wav")
    with pytest.raises(FileNotFoundError, match=f"^there is no file {re.escape(repr(missing))}"):
        read_audio(missing)
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):  # a folder
        read_audio(tmp_path)
    with pytest.raises(OSError, match=r"^X\[0\]: .*" + re.escape(str(tmp_path))):
        LogMelSpectrogram().transform([tmp_path])
    with pytest.raises(TypeError, match="PathLike"):
        read_audio(3)
    for rate in 0, -8000, 8000.0, "8000", True:
        with pytest.raises(ValueError, match="sample_rate must be an integer of at least 1"):
            read_audio(missing, rate)


def test_what_other_files_need_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (tmp_path / "a.flac").write_bytes(b"fLaC" * 9)
    with pytest.raises(ImportError, match=r'a.flac\' is no WAV file.*pip install "skrnn\[audio\]"'):
        read_audio(tmp_path / "a.flac")
    wavfile.write(tmp_path / "a.wav", 8000, np.ones(3, np.int16))
    assert len(read_audio(tmp_path / "a.wav").signal) == 3


# --- speed ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("factor", [0.9, 1.1, 1.25, 0.5, 2, 1 / 3, np.float32(0.9)])
def test_speed_changes_length_and_pitch(factor):
    x = tone(440, 16000, 16000)
    faster = change_speed(x, factor)
    assert faster.dtype == np.float64
    same_inside(faster, tone(440 * factor, 16000, int(np.ceil(round(16000 / factor, 3)))))


def test_speed_keeps_the_type_of_a_signal():
    x = tone(440, 16000, 1000)
    np.testing.assert_allclose(change_speed(x, 1), x, atol=1e-12)
    single = change_speed(x.astype(np.float32), 1.1)
    assert single.dtype == np.float32
    whole = change_speed(np.round(x * 32767).astype(np.int16), 1.1)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, single, atol=1e-3)
    assert len(change_speed([0.5], 100)) == 1


@pytest.mark.parametrize("factor", [0, -1, 0.009, 101, np.nan, np.inf, "fast", None])
def test_bad_speeds(factor):
    with pytest.raises(ValueError, match=r"factor must be a number from 0\.01 to 100"):
        change_speed([0.0, 1.0], factor)


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        ([], "signal is empty"),
        ([0.0, np.nan], "signal has nan at sample 1"),
        (np.zeros((9, 2)), "signal has shape (9, 2) and looks like stereo"),
        (np.zeros((3, 3)), "signal must be a signal of shape (n_samples,), got shape (3, 3)"),
        ("a.wav", "signal must be a signal of shape (n_samples,), got shape ()"),
    ],
)
def test_bad_signals(signal, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        change_speed(signal, 1.1)


def test_nothing_else_warns(tmp_path):
    wavfile.write(tmp_path / "a.wav", 8000, np.ones(9, np.int16))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_audio(tmp_path / "a.wav", 16000)
    assert not caught

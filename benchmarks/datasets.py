"""Loaders for the real data behind the benchmarks. The files are not part of the package.

They are looked for in ``SKRNN_DATA``, else in ``../shared/data`` beside the repository. Sequences
come as lists of (T_i, F) float64 arrays, oldest step first; texts as lists of strings or of words.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.io import wavfile


def data_file(*parts: str) -> Path:
    """Path of one data file; FileNotFoundError names it and says what to set. Results store that text, so it
    holds no folder of a machine."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("SKRNN_DATA") or beside)
    path = folder.joinpath(*parts)
    if not path.is_file():
        raise FileNotFoundError(
            f"benchmark data {'/'.join(parts)} not found: set the environment variable SKRNN_DATA to the "
            f"folder that holds {'/'.join(parts)}"
        )
    return path


def read_ts(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Read an archive file in ``.ts`` format without time stamps or missing values.

    Returns the cases, each (T_i, F), and their labels, each as written in the file. A case is one
    line, ``dimension:dimension:...:label``, a dimension its values over time with commas between.
    """
    X, y, in_data = [], [], False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = line.strip()
        if not in_data:
            in_data = line.lower() == "@data"
            if line.lower().startswith("@timestamps true"):
                raise ValueError(f"{path}: time stamps are not supported")
        elif line:
            *dimensions, label = line.split(":")
            values = [np.array(d.split(","), dtype=np.float64) for d in dimensions]
            if not values or len({len(v) for v in values}) > 1:
                raise ValueError(f"{path}, line {number}: dimensions of different lengths")
            X.append(np.stack(values, axis=1))
            y.append(label)
    return X, np.array(y)


def load_tsc(name: str):
    """One of JapaneseVowels, ItalyPowerDemand, GunPoint, BasicMotions: the archive's own split.

    Returns X_train, y_train, X_test, y_test: lists of (T_i, F) arrays and arrays of labels.
    """
    train = read_ts(data_file("tsc", f"{name}_TRAIN.ts"))
    test = read_ts(data_file("tsc", f"{name}_TEST.ts"))
    return (*train, *test)


OCCUPANCY_FEATURES = [
    "Temperature",
    "Humidity",
    "CO2",
    "HumidityRatio",
]  # Light alone nearly gives it away


def load_occupancy():
    """Room occupancy by the minute, February 2015: 8,143 rows (4th to 10th), 2,665 (2nd to 4th).

    Returns X_train, y_train, X_test, y_test as (n_rows, 4) and (n_rows,) arrays; y is 0 or 1. The
    rows of a file are consecutive minutes without a gap.
    """
    parts = []
    for name in ("datatraining.txt", "datatest.txt"):
        frame = pd.read_csv(data_file("occupancy", name))
        parts += [frame[OCCUPANCY_FEATURES].to_numpy(np.float64), frame["Occupancy"].to_numpy()]
    return tuple(parts)


def load_etth1() -> tuple[np.ndarray, np.ndarray]:
    """Hourly values of an electricity transformer: training and test rows (n, 7).

    The split of the Informer paper, 12, 4 and 4 months of 30 days, scaled by the training rows.
    """
    values = pd.read_csv(data_file("etth1", "ETTh1.csv")).drop(columns="date").to_numpy(np.float32)
    months = 30 * 24
    train, test = values[: 12 * months], values[16 * months - 96 : 20 * months]
    mean, std = train.mean(axis=0), train.std(axis=0)
    return (train - mean) / std, (test - mean) / std


def load_digits_by_row():
    """scikit-learn's digits as sequences: X (1797, 8 steps, 8 pixels), y (1797,)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.copy(), digits.target


def load_co2() -> pd.Series:
    """Weekly CO2 at Mauna Loa in ppm, 1958 to 2001, from statsmodels; 59 weeks are NaN."""
    import statsmodels.api as sm

    return sm.datasets.co2.load_pandas().data["co2"]


def load_names18() -> tuple[list[str], np.ndarray, list[str], np.ndarray]:
    """Surnames of 18 languages: X_train, y_train, X_test, y_test, each pair of a name and a language once.

    A name that several languages have lies in one part only, so that what is tested was never seen: the
    test part are the first fifth of the distinct names, in an order drawn with seed 0.
    """
    languages: dict[str, set[str]] = {}
    folder = data_file("names18", "English.txt").parent
    for path in sorted(folder.glob("[A-Z][a-z]*.txt")):  # not SOURCE.txt
        for line in path.read_text(encoding="utf-8").splitlines():
            if name := line.strip():
                languages.setdefault(name, set()).add(path.stem)
    names = sorted(languages)
    np.random.default_rng(0).shuffle(names)
    n_test = len(names) // 5

    def pairs(names: list[str]) -> tuple[list[str], np.ndarray]:
        rows = [(name, language) for name in names for language in sorted(languages[name])]
        return [name for name, _ in rows], np.array([language for _, language in rows])

    return *pairs(names[n_test:]), *pairs(names[:n_test])


def load_rt_polarity() -> tuple[list[str], np.ndarray]:
    """Sentences of film reviews (Pang & Lee 2005): 5,331 that pan, 0, and 5,331 that praise, 1."""
    texts, y = [], []
    for label, ending in enumerate(("neg", "pos")):
        path = data_file("rt_polarity", f"rt-polarity.{ending}")
        lines = path.read_text(encoding="utf-8", errors="replace").strip("\n").split("\n")
        texts += [line.strip() for line in lines]
        y += [label] * len(lines)
    return texts, np.array(y)


def load_snips(part: str) -> tuple[list[list[str]], list[list[str]], list[str]]:
    """Requests to an assistant, "train", "valid" or "test": words, a tag for each, and the intents."""
    words, tags, intents = (
        data_file("snips", part, name).read_text(encoding="utf-8").strip("\n").split("\n")
        for name in ("seq.in", "seq.out", "label")
    )
    sentences, tags = [line.split() for line in words], [line.split() for line in tags]
    if list(map(len, sentences)) != list(map(len, tags)) or len(sentences) != len(intents):
        raise ValueError(f"snips, {part}: words, tags and intents do not go together")
    return sentences, tags, [line.strip() for line in intents]


def load_tinyshakespeare() -> tuple[str, str]:
    """A text to learn from, and its last 111,540 characters."""
    text = data_file("tinyshakespeare", "input.txt").read_text(encoding="utf-8")
    return text[:-111_540], text[-111_540:]


def load_eng_fra() -> list[tuple[str, str]]:
    """English sentences and their French translations; either may occur several times."""
    with zipfile.ZipFile(data_file("eng_fra_2017", "fra-eng.zip")) as archive:
        lines = archive.read("fra.txt").decode("utf-8").splitlines()
    return [(english, french) for english, french, *_ in (line.split("\t") for line in lines)]


class SpokenDigit(NamedTuple):
    """A recording of 8,000 samples a second."""

    signal: np.ndarray
    digit: str
    speaker: str
    number: int  # of 50 recordings of a digit by a speaker, of which 0 to 4 are for the test


def load_fsdd() -> list[SpokenDigit]:
    """Spoken digits, in the order of their names."""
    found = []
    with zipfile.ZipFile(data_file("fsdd", "recordings.zip")) as archive:
        for name in sorted(archive.namelist()):
            match = re.search(r"(\d)_(\w+)_(\d+)\.wav$", name)
            if match is not None:
                rate, samples = wavfile.read(io.BytesIO(archive.read(name)))
                if rate != 8000:
                    raise ValueError(f"{name} has {rate} samples a second")
                found.append(SpokenDigit(samples, match[1], match[2], int(match[3])))
    return found

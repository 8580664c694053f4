"""A recogniser from a folder of audio files and a CSV file of what is said in them.

    python examples/transcribe_folder.py FOLDER TRANSCRIPTS.csv [--rate 16000] [--labels char] [--model FILE]

The CSV file has the columns "file", names within the folder, and "text". A tenth of the recordings is held
back to tell how well it works; the fitted model is stored with joblib and needs nothing but paths to
transcribe. Without arguments the script makes itself a folder of what machines say: signals that rise, fall,
warble, tick and hum at any pitch, in noise, one after the other.
"""

import argparse
from pathlib import Path
from tempfile import mkdtemp

import joblib
import numpy as np
import pandas as pd
from scipy.io import wavfile
from sklearn.model_selection import train_test_split

from skrnn.audio import GRUTranscriber, LogMelSpectrogram, word_error_rate


def a_folder(n, rate):
    """Of n WAV files, and its CSV file."""
    rng, folder, rows = np.random.default_rng(0), Path(mkdtemp()), []

    def signal(word):
        t = np.linspace(0, 1, rng.integers(rate // 5, rate // 2))
        pitch = rng.uniform(400, 900)
        pitches = {
            "rise": pitch * (1 + t),
            "fall": pitch * (2 - t),
            "warble": pitch * (1.5 + 0.3 * np.sin(2 * np.pi * 4 * t)),
            "tick": 1.5 * pitch + 0 * t,
            "hum": 0.3 * pitch + 0 * t,
        }
        tone = np.sin(2 * np.pi * np.cumsum(pitches[word]) / rate) * np.sin(np.pi * t) ** 0.5
        return tone * (np.sin(2 * np.pi * 5 * t) > 0) if word == "tick" else tone

    for k in range(n):
        words = rng.choice(["rise", "fall", "warble", "tick", "hum"], rng.integers(1, 7))
        whole = np.concatenate([part for word in words for part in (signal(word), np.zeros(rate // 10))])
        noisy = 0.2 * whole + rng.normal(scale=0.02, size=len(whole))
        wavfile.write(folder / f"{k}.wav", rate, (noisy * 32767).astype(np.int16))
        rows.append((f"{k}.wav", " ".join(words)))
    pd.DataFrame(rows, columns=["file", "text"]).to_csv(folder / "transcripts.csv", index=False)
    return folder, folder / "transcripts.csv"


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("folder", type=Path, nargs="?")
parser.add_argument("transcripts", type=Path, nargs="?")
parser.add_argument("--rate", type=int, default=16000, help="samples a second; other files are resampled")
parser.add_argument(
    "--labels", choices=["char", "word"], default="char", help="what is learnt to be told apart"
)
parser.add_argument("--model", type=Path, default=None, help="where the fitted model is stored")
options = parser.parse_args()
folder, transcripts, rate, labels = options.folder, options.transcripts, options.rate, options.labels
if folder is None:
    rate, labels = 8000, "word"
    folder, transcripts = a_folder(300, rate)
table = pd.read_csv(transcripts or folder / "transcripts.csv", dtype=str, keep_default_na=False)
paths, texts = [folder / name for name in table["file"]], table["text"].tolist()
train, test, train_texts, test_texts = train_test_split(paths, texts, test_size=0.1, random_state=0)

model = GRUTranscriber(
    64, features=LogMelSpectrogram(rate), label_encoder=labels, stack_frames=3, random_state=0
).fit(train, train_texts)
heard = model.predict(test)
print(f"{len(train)} recordings, {model.n_iter_} passes in {model.history_['seconds'][-1]:.0f} s")
print(f"of {len(test)} others, {word_error_rate(test_texts, heard):.2%} of the words are wrong")
for path, right, text in zip(test[:5], test_texts, heard, strict=False):
    print(f"  {path.name}: {text}" + ("" if text == right else f" (it was {right})"))

path = options.model or folder / "transcriber.joblib"
joblib.dump(model, path)
print(f"the model is in {path}: joblib.load({str(path)!r}).predict(['a.wav'])")

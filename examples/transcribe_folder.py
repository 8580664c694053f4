"""A recogniser from a folder of audio files and a CSV file of what is said in them.

    python examples/transcribe_folder.py FOLDER TRANSCRIPTS.csv [--rate 16000] [--model MODEL.joblib]

The CSV file has the columns "file", names within the folder, and "text". A tenth of the recordings is held
back to tell how well it works; the fitted model is stored with joblib and needs nothing but paths to
transcribe. Without arguments the script makes itself a folder: call signs in Morse code, of several speeds
and pitches, in noise.
"""

import argparse
from pathlib import Path
from tempfile import mkdtemp

import joblib
import numpy as np
import pandas as pd
from scipy.io import wavfile
from sklearn.model_selection import train_test_split

from skrnn.audio import GRUTranscriber, LogMelSpectrogram, character_error_rate

MORSE = {
    "A": ".-", "B": "-...", "C": "-.-.", "D": "-..", "E": ".", "F": "..-.", "G": "--.", "H": "....",
    "I": "..", "J": ".---", "K": "-.-", "L": ".-..", "M": "--", "N": "-.", "O": "---", "P": ".--.",
    "Q": "--.-", "R": ".-.", "S": "...", "T": "-", "U": "..-", "V": "...-", "W": ".--", "X": "-..-",
    "Y": "-.--", "Z": "--..", "0": "-----", "1": ".----", "2": "..---", "3": "...--", "4": "....-",
    "5": ".....", "6": "-....", "7": "--...", "8": "---..", "9": "----.",
}  # fmt: skip


def morse_folder(n, rate):
    """A folder of n WAV files, and its CSV file."""
    rng, folder, rows = np.random.default_rng(0), Path(mkdtemp()), []
    letters = list(MORSE)
    for k in range(n):
        text = "".join(rng.choice(letters, rng.integers(3, 7)))
        dot, pitch, on = int(rate * rng.uniform(0.04, 0.06)), rng.uniform(400, 900), [0.0] * 3
        for letter in text:
            for sign in MORSE[letter]:
                on += [1.0] * (1 if sign == "." else 3) + [0.0]
            on += [0.0] * 2
        tone = np.repeat(on, dot) * np.sin(2 * np.pi * pitch / rate * np.arange(len(on) * dot))
        signal = 0.2 * tone + rng.normal(scale=0.1, size=len(tone))
        wavfile.write(folder / f"{k}.wav", rate, (signal.clip(-1, 1) * 32767).astype(np.int16))
        rows.append((f"{k}.wav", text))
    pd.DataFrame(rows, columns=["file", "text"]).to_csv(folder / "transcripts.csv", index=False)
    return folder, folder / "transcripts.csv"


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("folder", type=Path, nargs="?")
parser.add_argument("transcripts", type=Path, nargs="?")
parser.add_argument("--rate", type=int, default=None, help="samples a second; files of others are resampled")
parser.add_argument("--model", type=Path, default=None, help="where the fitted model is stored")
options = parser.parse_args()
folder, transcripts, rate = options.folder, options.transcripts, options.rate or 16000
if folder is None:
    rate = options.rate or 4000
    folder, transcripts = morse_folder(500, rate)
table = pd.read_csv(transcripts or folder / "transcripts.csv", dtype=str, keep_default_na=False)
paths, texts = [folder / name for name in table["file"]], table["text"].tolist()
train, test, train_texts, test_texts = train_test_split(paths, texts, test_size=0.1, random_state=0)

features = LogMelSpectrogram(rate, f_max=min(7600, rate / 2), n_mels=40 if rate >= 8000 else 24)
model = GRUTranscriber(64, features=features, stack_frames=2, random_state=0, verbose=1).fit(
    train, train_texts
)
heard = model.predict(test)
print(f"{len(train)} recordings, {model.n_iter_} passes in {model.history_['seconds'][-1]:.0f} s")
print(f"of {len(test)} others, {character_error_rate(test_texts, heard):.2%} of the characters are wrong")
for path, right, text in zip(test[:5], test_texts, heard, strict=False):
    print(f"  {path.name}: {text}" + ("" if text == right else f" (it was {right})"))

path = options.model or folder / "transcriber.joblib"
joblib.dump(model, path)
print(f"the model is in {path}: joblib.load({str(path)!r}).predict(['a.wav'])")

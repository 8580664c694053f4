"""A network hears which keys of a telephone are pressed: tones in noise, in, and strings of digits, out.

Each key sounds two frequencies (DTMF). The network is told which keys there are in a recording, but not when;
with connectionist temporal classification it finds that out. The recordings are made here. The picture shows
the spectrogram of one of them, and where the network hears each key.
"""

from pathlib import Path
from tempfile import gettempdir

import numpy as np

from skrnn.audio import GRUTranscriber, LogMelSpectrogram, TranscriptDisplay, character_error_rate

RATE = 8000  # samples a second
LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477)
KEYS = {key: (LOW[k // 3], HIGH[k % 3]) for k, key in enumerate("123456789*0#")}

rng = np.random.default_rng(0)


def recording(keys):
    """A signal of these keys, of random lengths and with random pauses, in noise as loud as they are."""
    parts = [np.zeros(rng.integers(400, 1200))]
    for key in keys:
        t = np.arange(rng.integers(500, 1200)) / RATE
        parts.append(sum(np.sin(2 * np.pi * (f * t + rng.random())) for f in KEYS[key]))
        parts.append(np.zeros(rng.integers(400, 1200)))
    signal = np.concatenate(parts)
    return 0.1 * (signal + rng.normal(scale=1.0, size=len(signal)))


def strings(n, longest):
    return ["".join(rng.choice(list(KEYS), rng.integers(0, longest + 1))) for _ in range(n)]


train, test, long = strings(400, 8), strings(100, 8), strings(10, 60)
features = LogMelSpectrogram(RATE, n_mels=32, f_min=600, f_max=1600)
model = GRUTranscriber(64, num_layers=1, features=features, stack_frames=2, max_iter=25, random_state=0)
model.fit([recording(keys) for keys in train], train)
seconds = model.history_["seconds"][-1]
print(f"{len(train)} recordings of up to 8 keys, {model.n_iter_} passes in {seconds:.0f} s")

for name, texts in ("others", test), ("others of up to 60", long):
    heard = model.predict([recording(keys) for keys in texts])
    print(f"of {len(texts)} {name}, {character_error_rate(texts, heard):.2%} of the keys are wrong")

signal = recording("0800*42#")
print("one of them, with the best of what is heard:")
for text, log_prob in model.predict_n_best([signal], 3)[0]:
    print(f"  {np.exp(log_prob):.4f} {text}")
for key in model.predict_alignment([signal])[0]:
    print(f"  {key.start:5.2f} to {key.end:.2f} s: {key.label}")

display = TranscriptDisplay.from_estimator(model, signal)
path = Path(gettempdir()) / "keypad_tones.png"
display.figure_.savefig(path)
print(f"the picture is in {path}")

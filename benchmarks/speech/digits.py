"""Spoken digits: one in a recording, by speakers who were heard before and by others, and strings of them.

    python -m benchmarks.speech.digits --seeds 0 1 2 --output FILE

"one": a digit in each recording, of which 0 to 4 are the test; "others": likewise, of a speaker who was left
out, the mean of all four; both by five classifiers that vote. "strings": 3 to 7 digits of one speaker, put
together from recordings drawn at random, as characters, by transcribers, which learn from 1,000 strings of
the training recordings; 400 strings of the test recordings; "strings of others": 400 of a speaker who was
left out. Beside each the shortest call, with the first seed. The exit status is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from benchmarks.datasets import SpokenDigit, load_fsdd
from benchmarks.page import measured_by
from benchmarks.report import table
from benchmarks.speech.page import PAGE
from skrnn import LSTMClassifier
from skrnn.audio import MFCC, LogMelSpectrogram, LSTMTranscriber, change_speed, label_error_rate

RATE, N_TRAIN, N_TEST = 8000, 1000, 400
Digits = list[SpokenDigit]
CEPSTRA: dict[str, Any] = {"sample_rate": RATE, "deltas": 2}
KNOWN: dict[str, Any] = {"hidden_size": 64, "bidirectional": True, "num_layers": 2, "dropout": 0.3,
                         "head_dropout": 0.3, "pooling": "max", "max_iter": 40}  # fmt: skip
UNKNOWN = KNOWN | {"dropout": 0.5, "recurrent_dropout": 0.4, "head_dropout": 0.5, "pooling": "last",
                   "max_iter": 10, "speeds": (0.85, 1.18)}  # fmt: skip
SETTINGS = ["chosen settings", "shortest call"]
VOTES = 5  # networks whose probabilities are averaged
TRANSCRIBER: dict[str, Any] = {"hidden_size": 64, "dropout": 0.5, "recurrent_dropout": 0.4, "stack_frames": 2,
                               "speeds": (0.85, 1.18), "max_iter": 12}  # fmt: skip
TARGETS = {"one": 0.99, "others": 0.80, "strings": 0.02, "strings of others": 0.20}


def classified(settings: dict[str, Any] | None) -> Callable[[Digits, Digits, int], float]:
    """The share of right digits."""

    def accuracy(train: Digits, test: Digits, seed: int) -> float:
        if settings is None:
            model = make_pipeline(LogMelSpectrogram(RATE), LSTMClassifier(random_state=seed))
        else:
            own = {name: value for name, value in settings.items() if name != "speeds"}
            voters = [(f"{k}", LSTMClassifier(random_state=VOTES * seed + k, **own)) for k in range(VOTES)]
            model = make_pipeline(MFCC(**CEPSTRA), VotingClassifier(voters, voting="soft"))
            faster = [
                one._replace(signal=change_speed(one.signal, speed))
                for speed in settings.get("speeds", ())
                for one in train
            ]
            train = [*train, *faster]
        model.fit([one.signal for one in train], np.array([one.digit for one in train]))
        return model.score([one.signal for one in test], np.array([one.digit for one in test]))

    return accuracy


def transcribed(settings: dict[str, Any] | None) -> Callable[[Digits, Digits, int], float]:
    """The share of wrong digits."""

    def error_rate(train: Digits, test: Digits, seed: int) -> float:
        if settings is None:
            model = LSTMTranscriber(features=LogMelSpectrogram(RATE), random_state=seed)
        else:
            model = LSTMTranscriber(features=MFCC(**CEPSTRA), random_state=seed, **settings)
        model.fit(*strings(train, N_TRAIN, seed))
        signals, texts = strings(test, N_TEST, 1000 + seed)
        return label_error_rate(texts, model.predict(signals))

    return error_rate


def strings(digits: Digits, n: int, seed: int) -> tuple[list[np.ndarray], list[str]]:
    """Signals of 3 to 7 digits of one speaker each, the speakers in turn, and what they say."""
    rng, by_speaker = np.random.default_rng(seed), defaultdict(list)
    for one in digits:
        by_speaker[one.speaker].append(one)
    speakers, signals, texts = sorted(by_speaker), [], []
    for k in range(n):
        own = by_speaker[speakers[k % len(speakers)]]
        drawn = [own[i] for i in rng.integers(0, len(own), rng.integers(3, 8))]
        signals.append(np.concatenate([one.signal for one in drawn]))
        texts.append("".join(one.digit for one in drawn))
    return signals, texts


def of_known_speakers(digits: Digits) -> Iterator[tuple[Digits, Digits]]:
    yield [one for one in digits if one.number >= 5], [one for one in digits if one.number < 5]


def of_others(digits: Digits) -> Iterator[tuple[Digits, Digits]]:
    for speaker in sorted({one.speaker for one in digits}):
        yield (
            [one for one in digits if one.speaker != speaker],
            [one for one in digits if one.speaker == speaker],
        )


TASKS: dict[str, tuple[Callable, Callable, dict[str, Any]]] = {
    "one": (of_known_speakers, classified, KNOWN),
    "others": (of_others, classified, UNKNOWN),
    "strings": (of_known_speakers, transcribed, TRANSCRIBER),
    "strings of others": (of_others, transcribed, TRANSCRIBER),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=SETTINGS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    digits, met = load_fsdd(), True
    header = ["settings", "digits", "of each speaker", "deviation of seeds", "target", "seconds of a fit"]
    for name in options.tasks:
        split, kind, chosen = TASKS[name]
        what, target, rows = "right" if kind is classified else "wrong", TARGETS[name], []
        for title in options.settings:
            is_chosen = title == SETTINGS[0]
            each, start = kind(chosen if is_chosen else None), time.perf_counter()
            seeds = options.seeds if is_chosen else options.seeds[:1]
            with threadpool_limits(options.threads):
                found = np.array([[each(*parts, seed) for parts in split(digits)] for seed in seeds])
            seconds = (time.perf_counter() - start) / found.size
            parts = ", ".join(f"{mean:.1%}" for mean in found.mean(axis=0)) if found.shape[1] > 1 else ""
            spread = f"{found.mean(axis=1).std():.2%}" if len(seeds) > 1 else ""
            limit = f"{'at least' if what == 'right' else 'at most'} {target:.0%}"
            rows.append([title, f"{found.mean():.2%} {what}", parts, spread, limit, f"{seconds:.0f}"])
            print(name, *rows[-1], sep=" | ", flush=True)
            if is_chosen:
                met &= bool(found.mean() >= target if what == "right" else found.mean() <= target)
        command = f"benchmarks.speech.digits --tasks {name!r} --seeds {' '.join(map(str, options.seeds))}"
        text = f"## Spoken digits: {name}\n\n{measured_by(command)}\n\n{table(header, rows)}\n"
        if options.output is not None:
            PAGE.write(name.replace(" ", "_"), text, options.output)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())

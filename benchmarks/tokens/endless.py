"""Text that does not fit in memory, through an encoder and `partial_fit`: memory and speed on the way.

    python -m benchmarks.tokens.endless [--gigabytes 1]

The text is made on the way, in chunks of about one megabyte of UTF-8: reviews of words drawn by Zipf's law,
whose label is told by some of the words. What is printed is the memory of the process (Linux: VmRSS) after so
much of it, the error on a chunk before it is learnt from, and the words a second, encoding included.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.memory import status
from skrnn import RNNClassifier
from skrnn.text import TokenEncoder

N_WORDS, LENGTH, REVIEWS = 50_000, 50, 3000
STEPS = (0.01, 0.1, 0.25, 0.5, 0.75, 1.0)  # of the text, after which a line is printed


def chunks() -> Iterator[tuple[list[str], np.ndarray]]:
    """Texts and their labels, for ever."""
    rng = np.random.default_rng(0)
    words = np.array([f"w{k:x}" for k in range(N_WORDS)], dtype=object)
    share = 1 / np.arange(1, N_WORDS + 1)
    until = np.cumsum(share / share.sum())
    while True:
        drawn = np.searchsorted(until, rng.random((REVIEWS, LENGTH))).clip(max=N_WORDS - 1)
        labels = (drawn % 7 == 3).sum(axis=1) > (drawn % 7 == 5).sum(axis=1)
        yield [" ".join(row) for row in words[drawn]], labels.astype(int)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    options = parser.parse_args()
    total, n_bytes, n_words, start = options.gigabytes * 1e9, 0, 0, time.perf_counter()
    model, encoder, marks = None, TokenEncoder(max_features=20_000), [total * step for step in STEPS]
    print("| text, MB | memory, MB | error | words a second |\n| --- | --- | --- | --- |")
    for texts, labels in chunks():
        if model is None:
            encoder.fit(texts)
            model = RNNClassifier(
                16, embedding_size=16, n_tokens=len(encoder.vocabulary_) + 1, pooling="mean", random_state=0,
                embedding_updates="lazy",
            )  # fmt: skip
            model.partial_fit(encoder.transform(texts), labels, classes=[0, 1])
        X = encoder.transform(texts)
        error = 1 - model.score(X, labels)
        model.partial_fit(X, labels)
        n_bytes += sum(map(len, texts)) + len(texts)
        n_words += REVIEWS * LENGTH
        if n_bytes >= marks[0]:
            speed, memory = n_words / (time.perf_counter() - start), status("VmRSS") or np.nan
            print(f"| {n_bytes / 1e6:.0f} | {memory / 1e6:.0f} | {error:.3f} | {speed:,.0f} |", flush=True)
            marks.pop(0)
        if not marks:
            return


if __name__ == "__main__":
    main()

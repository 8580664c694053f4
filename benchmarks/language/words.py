"""A model of words after the small published recipes: two layers of 200, 20 streams of 20 steps, SGD.

    python -m benchmarks.language.words --words 300000 100000 --passes 5 20 --peers

Different English sentences one behind the other, in a new order; the last tenth is scored. The recipe is that
of Zaremba et al. 2014 in the form of PyTorch's `word_language_model`: gradients of the mean loss with a rate
of 20, clipped to norm 0.25, vectors of 200 numbers, 10,000 words; here the rate falls by half a cosine.
With ``--peers`` the plain recipe stands beside PyTorch's, from the same first weights, for the first text.
Dropout and tied weights are tried on the last one: a few passes over many words leave them nothing to gain,
many over fewer words do. The exit status is 1 when both libraries are more than 1 % apart, or neither dropout
nor tying gains.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import datasets
from benchmarks.language.page import PAGE
from benchmarks.page import measured_by
from benchmarks.peers import missing
from benchmarks.report import table
from skrnn.text import LSTMLanguageModel, TokenEncoder

RECIPE: dict[str, Any] = {
    "hidden_size": 200, "num_layers": 2, "embedding_size": 200, "batch_size": 20, "tbptt_steps": 20,
    "solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "learning_rate_init": 20.0,
    "max_grad_norm": 0.25,
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout 0.2": {"dropout": 0.2},
    "tied weights": {"tie_weights": True},
    "tied weights, dropout 0.2": {"tie_weights": True, "dropout": 0.2},
}
CLOSE = 0.01  # perplexities of both libraries


def text_of(n_words: int) -> tuple[str, str]:
    """Sentences of so many words, and of them the last tenth."""
    sentences = sorted({english for english, _ in datasets.load_eng_fra()})
    order, words, chosen = np.random.default_rng(0).permutation(len(sentences)), 0, list[str]()
    for i in order:
        chosen.append(sentences[i])
        words += 1 + len(sentences[i].split())
        if words >= n_words:
            break
    n = len(chosen) // 10
    return "\n".join(chosen[:-n]), "\n".join(chosen[-n:])


def perplexities(
    variants: dict[str, dict[str, Any]], train: str, test: str, passes: int, threads: int, peer: bool
) -> tuple[list[list[str]], dict[str, float]]:
    """Rows of the table, and the figures."""
    encoder = TokenEncoder("word", token_pattern=r"\w+|[^\w\s]|\n", max_features=9_997)
    rows, reached = list[list[str]](), dict[str, float]()

    def found(name: str, perplexity: float, seconds: float) -> None:
        reached[name] = perplexity
        rows.append([name, f"{perplexity:.2f}", f"{seconds / passes:.1f}"])
        print(" | ".join(rows[-1]), flush=True)

    for name, changed in variants.items():
        start = time.perf_counter()
        model = LSTMLanguageModel(encoder=encoder, max_iter=passes, random_state=0, **RECIPE | changed).fit(
            train
        )
        found(name, model.perplexity(test), time.perf_counter() - start)
        if name == "plain" and peer and not missing("pytorch"):
            from benchmarks.language.with_pytorch import Characters

            theirs = Characters(model, train, threads, 20, solver="sgd", layers=2)
            theirs.begin(model)
            seconds = theirs.passes(passes)
            found("plain, in PyTorch", math.exp(theirs.loss(test, model)), seconds)
    return rows, reached


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--words", nargs="+", type=int, default=[300_000, 100_000])
    parser.add_argument("--passes", nargs="+", type=int, default=[5, 20])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    rows, met = [], []
    with threadpool_limits(options.threads):
        for k, (words, passes) in enumerate(zip(options.words, options.passes, strict=True)):
            train, test = text_of(words)
            variants = VARIANTS if k == len(options.words) - 1 else {"plain": {}}
            peer = options.peers and k == 0
            of_run, reached = perplexities(variants, train, test, passes, options.threads, peer)
            rows += [[f"{words:,}", str(passes), *row] for row in of_run]
            if "plain, in PyTorch" in reached:
                met.append(abs(reached["plain"] / reached["plain, in PyTorch"] - 1) <= CLOSE)
    met.append(min(reached, key=reached.__getitem__) != "plain")
    command = (
        f"benchmarks.language.words --words {' '.join(map(str, options.words))} "
        f"--passes {' '.join(map(str, options.passes))} --threads {options.threads}"
        f"{' --peers' if options.peers else ''}"
    )
    lines = table(["words", "passes", "model", "perplexity", "seconds per pass"], rows)
    text = f"## Words\n\n{measured_by(command)}\n\n{lines}\n"
    print("\n" + text)
    if options.output is not None:
        PAGE.write("words", text, options.output)
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())

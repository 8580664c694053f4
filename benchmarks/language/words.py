"""A model of words after the small published recipes: two layers of 200, 20 streams of 20 steps, SGD.

    python -m benchmarks.language.words --words 300000 --peers

Different English sentences one behind the other, in a new order; the last tenth is scored. The recipe is that
of Zaremba et al. 2014 in the form of PyTorch's `word_language_model`: gradients of the mean loss with a rate
of 20, clipped to norm 0.25, vectors of 200 numbers, 10,000 words; here the rate falls by half a cosine.
Dropout and tied weights are tried beside it, and with ``--peers`` the plain recipe in PyTorch from the same
first weights.
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--words", type=int, default=1_000_000)
    parser.add_argument("--passes", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    sentences = sorted({english for english, _ in datasets.load_eng_fra()})
    order, words, chosen = np.random.default_rng(0).permutation(len(sentences)), 0, list[str]()
    for i in order:
        chosen.append(sentences[i])
        words += 1 + len(sentences[i].split())
        if words >= options.words:
            break
    n = len(chosen) // 10
    train, test = "\n".join(chosen[:-n]), "\n".join(chosen[-n:])
    encoder = TokenEncoder("word", token_pattern=r"\w+|[^\w\s]|\n", max_features=9_997)
    rows, reached = [], {}
    with threadpool_limits(options.threads):
        for name, changed in VARIANTS.items():
            start = time.perf_counter()
            model = LSTMLanguageModel(
                encoder=encoder, max_iter=options.passes, random_state=0, **RECIPE | changed
            ).fit(train)
            seconds, reached[name] = time.perf_counter() - start, model.perplexity(test)
            rows.append([name, f"{reached[name]:.2f}", f"{seconds / options.passes:.1f}"])
            print(" | ".join(rows[-1]), flush=True)
            if name == "plain" and options.peers and not missing("pytorch"):
                from benchmarks.language.with_pytorch import Characters

                theirs = Characters(model, train, options.threads, 20, solver="sgd", layers=2)
                theirs.begin(model)
                seconds = theirs.passes(options.passes)
                perplexity = math.exp(theirs.loss(test, model))
                reached["pytorch"] = perplexity
                rows.append(["plain, in PyTorch", f"{perplexity:.2f}", f"{seconds / options.passes:.1f}"])
                print(" | ".join(rows[-1]), flush=True)
    all_met = reached["plain"] > min(reached["dropout 0.2"], reached["tied weights"])
    if "pytorch" in reached:
        all_met &= abs(reached["plain"] / reached["pytorch"] - 1) <= CLOSE
    command = (
        f"benchmarks.language.words --words {options.words} --passes {options.passes} --threads "
        f"{options.threads}{' --peers' if options.peers else ''}"
    )
    lines = table(["model", "perplexity", "seconds per pass"], rows)
    text = f"## Words\n\n{measured_by(command)}\n\n{lines}\n"
    print("\n" + text)
    if options.output is not None:
        PAGE.write("words", text, options.output)
    return 0 if all_met else 1


if __name__ == "__main__":
    raise SystemExit(main())

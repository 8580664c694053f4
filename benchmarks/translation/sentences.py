"""Sentences from French to English: what a translator has learnt in a given time.

    python -m benchmarks.translation.sentences tutorial --seeds 0 1 2 --peers --output FILE
    python -m benchmarks.translation.sentences all --minutes 5 15 60 --output FILE

"tutorial": the short sentences of PyTorch's tutorial, with the shortest call; beside it without attention,
and the same networks in PyTorch, trained for as long, which translate by our search. "all": everything, a
learning curve. The exit status is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from benchmarks.page import measured_by
from benchmarks.peers import missing
from benchmarks.report import table
from benchmarks.translation.corpus import Part, all_pairs, split, tutorial_pairs
from benchmarks.translation.page import PAGE
from skrnn.text import LSTMTranslator, TokenEncoder, bleu_score, chrf_score
from skrnn.text.words import ENCODERS

N_TEST = {"tutorial": 1000, "all": 3000}
VARIANTS: dict[str, dict[str, Any]] = {"shortest call": {}, "no attention": {"attention": None}}
OF_ALL: dict[str, Any] = {"dropout": 0.2}  # of so many pairs little is learnt by heart
AIM = 42.0  # BLEU of all pairs after an hour
MORE_BY_ATTENTION, MORE_BY_SEARCH = 1.0, 0.5


def scores(model: Any, test: Part) -> dict[str, float]:
    """BLEU by the most probable token and by a search, against all references and against one; chrF."""
    greedy = copy(model).set_params(beam_size=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*did not end")
        found, quick = model.predict(test.sources), greedy.predict(test.sources)
    return {
        "greedy": bleu_score(test.references, quick),
        "search": bleu_score(test.references, found),
        "one": bleu_score([own[0] for own in test.references], found),
        "chrF": chrf_score(test.references, found),
    }


def row(name: str, taken: str, of_seeds: list[dict[str, float]]) -> list[str]:
    """Means over the seeds."""
    keys = "greedy", "search", "one", "chrF"
    return [name, taken, *(f"{np.mean([found[key] for found in of_seeds]):.2f}" for key in keys)]


def in_pytorch(model: Any, train: Part, seconds: float, seed: int, threads: int) -> tuple[Any, str]:
    """A copy of a model with weights that PyTorch has trained for as long; and the passes."""
    import torch

    from benchmarks.translation import with_pytorch as peer

    a, vocabulary = model._architecture, model._vocabulary
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    net = peer.EncoderDecoder(
        a["n_source"], a["n_target"], cell=a["cell"], hidden_size=a["hidden_size"], dropout=a["dropout"],
        embedding_size=a["embedding_size"], attention=a["attention"], num_layers=a["num_layers"],
    )  # fmt: skip
    network = model._fitted_network(a, "cpu")
    peer.load(net, network.parameters.initial(np.random.RandomState(seed)))
    sources, targets = model._tokens_of(train.X, train.y)
    targets = [np.concatenate([[vocabulary.begin], tokens]) for tokens in targets]
    size = model._settings(len(sources), model._data(sources[:1], targets[:1])).batch_size
    passes, taken = peer.train(net, model, sources, targets, seconds, seed, size)
    other = copy(model)
    other.weights_ = peer.weights_of(net, model.weights_)
    return other, f"{passes} in {taken:.0f} s"


def tutorial(options: argparse.Namespace) -> tuple[list[list[str]], bool]:
    train, _, test = split(tutorial_pairs(), N_TEST["tutorial"])
    rows, means, peers = [], {}, options.peers and not missing("pytorch")
    for name, changed in VARIANTS.items():
        found: dict[str, list[dict[str, float]]] = {name: [], f"{name}, in PyTorch": []}
        taken = dict.fromkeys(found, "")
        for seed in options.seeds:
            start = time.perf_counter()
            model = LSTMTranslator(random_state=seed, **changed).fit(train.X, train.y)
            seconds = time.perf_counter() - start
            taken[name] = f"{model.n_iter_} in {seconds:.0f} s"
            found[name].append(scores(model, test))
            if peers:
                other, taken[f"{name}, in PyTorch"] = in_pytorch(model, train, seconds, seed, options.threads)
                found[f"{name}, in PyTorch"].append(scores(other, test))
        for which, of_seeds in found.items():
            if of_seeds:
                rows.append(row(which, taken[which], of_seeds))
                means[which] = np.mean([[own["greedy"], own["search"]] for own in of_seeds], axis=0)
                print(" | ".join(rows[-1]), flush=True)
    default = means["shortest call"]
    met = default[1] >= means["no attention"][1] + MORE_BY_ATTENTION
    met &= default[1] >= default[0] + MORE_BY_SEARCH
    if peers:
        met &= all(means[name][1] >= means[f"{name}, in PyTorch"][1] for name in VARIANTS)
    return rows, bool(met)


def everything(options: argparse.Namespace) -> tuple[list[list[str]], bool]:
    train, _, test = split(all_pairs(), N_TEST["all"])
    word = LSTMTranslator(random_state=options.seeds[0], **OF_ALL)
    word.set_params(source_encoder=words(), target_encoder=words())
    few = slice(None, None, 20)
    clone(word).set_params(max_iter=1).fit(train.X[:2000], train.y[:2000])  # compiles
    start = time.perf_counter()
    clone(word).set_params(max_iter=1).fit(train.X[few], train.y[few])
    of_a_pass = 20 * (time.perf_counter() - start)
    rows, reached = [], 0.0
    for minutes in options.minutes:
        passes = max(1, round(60 * minutes / of_a_pass))
        start = time.perf_counter()
        model = clone(word).set_params(max_iter=passes, verbose=options.verbose).fit(train.X, train.y)
        seconds, found = time.perf_counter() - start, scores(model, test)
        rows.append(row(f"{minutes} minutes", f"{model.n_iter_} in {seconds / 60:.1f} minutes", [found]))
        reached = found["search"]
        print(" | ".join(rows[-1]), flush=True)
    return rows, max(options.minutes) < 60 or reached >= AIM


def words() -> TokenEncoder:
    """Words and signs, of which those that occur once are unknown."""
    return TokenEncoder(**ENCODERS["word"], min_df=2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("corpus", choices=["tutorial", "all"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--minutes", nargs="+", type=float, default=[5, 15, 60])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    with threadpool_limits(options.threads):
        rows, met = (tutorial if options.corpus == "tutorial" else everything)(options)
    header = ["network", "passes", "BLEU, greedy", "BLEU", "one", "chrF"]
    command = f"benchmarks.translation.sentences {options.corpus}"
    if options.corpus == "tutorial":
        command += f" --seeds {' '.join(map(str, options.seeds))}{' --peers' if options.peers else ''}"
    else:
        command += f" --minutes {' '.join(f'{m:g}' for m in options.minutes)}"
    title = {"tutorial": "The tutorial's sentences", "all": "All sentences"}[options.corpus]
    text = f"## {title}\n\n{measured_by(command)}\n\n{table(header, rows)}\n"
    print("\n" + text)
    if options.output is not None:
        PAGE.write(options.corpus, text, options.output)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())

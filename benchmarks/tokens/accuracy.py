"""Accuracy of networks that read tokens, on real data.

    python -m benchmarks.tokens.accuracy --peers
    python -m benchmarks.tokens.accuracy --only names18 --seeds 0 1 --threads 2 --output FILE

For each task the best settings stand beside their target, and beside them the shortest call, which says
only what a network has to be told; models that are no networks; and with ``--peers`` the same network in
PyTorch. Writes its part of ``benchmarks/results/TOKENS.md``, unless ``--only`` leaves tasks out.
``--rehearse`` goes through all of it with a few documents and one epoch, and writes nothing without
``--output``. The exit status is 1 when a target is missed.

How the settings were chosen: of names18 and rt_polarity on a part held back of the training data (a fifth
of the names; 12 % of the sentences of two folds), of snips on the validation part, which nothing is trained
on here.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.peers import missing
from benchmarks.report import number, table
from benchmarks.tokens import page
from benchmarks.tokens.baselines import Answer, Split, answered
from benchmarks.tokens.tasks import TASKS, Metric, TokenTask
from benchmarks.work import Unavailable

FEW, FEW_TESTED = 200, 100  # documents of a rehearsal
OURS, SHORTEST, THEIRS = "best", "shortest", "pytorch"
ORDER = OURS, THEIRS, SHORTEST
TEXT = """\
Settings are in `benchmarks/tokens/tasks.py`; targets are for the best ones, the first row of each task. The
shortest call is the same pipeline with only `embedding_size="auto"`, `max_iter=20` and, for slots,
`loss="crf"` and `return_sequences=True`. Means are over the seeds, and over the folds where there are some.

Seconds are those of one fit: of networks on tokens that are ready, after a first fit of one epoch, so that
nothing is compiled in them; of other models on documents. In brackets: how many times as long PyTorch takes.
Its network is of the same sizes and learns from as many minibatches of the same size, with the same optimiser
and learning rates; it has no dropout of hidden units in time, and drops single numbers of vectors in the
place of tokens.
"""


class Reached:
    """What one model has reached: of every metric and seed the scores of all splits; seconds of its fits."""

    def __init__(self) -> None:
        self.scores: dict[str, dict[int | None, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.seconds: list[float] = []

    def add(self, metrics: tuple[Metric, ...], seed: int | None, y: Any, answer: Answer) -> None:
        for metric in metrics:
            self.scores[metric.name][seed].append(float(metric.score(y, answer.predicted)))
        self.seconds.append(answer.seconds)

    def of_seeds(self, metric: Metric) -> list[float]:
        return [float(np.mean(scores)) for scores in self.scores[metric.name].values()]


# --- the fits -------------------------------------------------------------------------------------
def numbered(encoder: Any, split: Split) -> Split:
    """Tokens of the documents, as an encoder numbers them that knows the training part."""
    return split._replace(
        X_train=encoder.fit_transform(split.X_train), X_test=encoder.transform(split.X_test)
    )


def few(split: Split) -> Split:
    """Documents from all over the parts."""

    def thinned(rows: Any, n: int) -> Any:
        return rows[:: max(1, len(rows) // n)]

    return Split(*(thinned(rows, n) for rows, n in zip(split, (FEW, FEW, FEW_TESTED, FEW_TESTED))))


def models(peers: bool, threads: int) -> dict[str, Callable[[Any, Split], Answer]]:
    """How the networks learn and answer, by name."""
    found = {name: lambda classifier, split: answered(classifier.fit, split) for name in (OURS, SHORTEST)}
    if peers:
        import torch

        from benchmarks.tokens import with_pytorch

        torch.set_num_threads(threads)
        found[THEIRS] = lambda classifier, split: answered(partial(with_pytorch.fit, classifier), split)
    return found


def run(task: TokenTask, options: argparse.Namespace) -> dict[str, Reached]:
    """All models of a task; those of a seed learn in turn."""
    rehearse = options.rehearse
    reached: dict[str, Reached] = defaultdict(Reached)
    short, networks = {"max_iter": 1} if rehearse else {}, models(options.peers, options.threads)
    for fold, split in enumerate(islice(task.splits(), 1 if rehearse else None)):
        split = few(split) if rehearse else split
        for name, answer in task.others.items():
            try:
                reached[name].add(task.metrics, None, split.y_test, answer(split))
            except Unavailable as problem:
                print(f"  {name} left out: {problem}")
        tokens = numbered(task.encoder(), split)
        for seed in options.seeds:
            for name, answer in [*networks.items()]:
                make = task.plain if name == SHORTEST else task.best
                try:
                    if not reached[name].seconds:
                        answer(make(tokens.y_train, seed, max_iter=1), tokens)
                    found = answer(make(tokens.y_train, seed, **short), tokens)
                except Unavailable as problem:
                    print(f"  {name} left out: {problem}")
                    del networks[name]
                    continue
                reached[name].add(task.metrics, seed, tokens.y_test, found)
                last = ", ".join(f"{reached[name].scores[m.name][seed][-1]:.4f}" for m in task.metrics)
                print(f"  split {fold}, seed {seed}, {name}: {last}, {found.seconds:.1f} s", flush=True)
    return {name: found for name, found in reached.items() if found.seconds}


# --- the table ------------------------------------------------------------------------------------
def described(task: TokenTask) -> str:
    """The network of the best settings in words."""
    settings = task.settings
    layers = "" if settings.get("num_layers", 1) == 1 else f"{settings['num_layers']} layers of a "
    directions = "bidirectional " if settings.get("bidirectional") else ""
    name = task.classifier.__name__.removesuffix("Classifier")
    top = "CRF" if settings.get("loss") == "crf" else settings.get("pooling", "last")
    return f"{layers}{directions}{name} of {settings['hidden_size']}, {top}, {settings['max_iter']} epochs"


def lines(key: str, task: TokenTask, reached: dict[str, Reached]) -> Iterator[tuple[list[str], bool]]:
    """Rows of the table, and whether a target is met, where there is one."""
    names = {OURS: described(task), THEIRS: "the same in PyTorch", SHORTEST: "shortest call"}
    ordered = [name for name in ORDER if name in reached]
    ours = float(np.mean(reached[OURS].seconds))
    for metric in task.metrics:
        for name in [*ordered, *(name for name in reached if name not in ORDER)]:
            found, seconds = reached[name].of_seeds(metric), float(np.mean(reached[name].seconds))
            mean = float(np.mean(found))
            met, each = name != OURS or mean >= metric.target, ", ".join(f"{score:.4f}" for score in found)
            verdict = "" if name != OURS else "met" if met else "**missed**"
            yield (
                [
                    key,
                    names.get(name, name),
                    metric.name,
                    f"{mean:.4f}",
                    each if name in ORDER else "–",
                    f">= {metric.target} (aim {metric.aim})" if name == OURS else "",
                    f"{verdict}, and the aim" if name == OURS and mean >= metric.aim else verdict,
                    number(seconds) + (f" ({seconds / ours:.2f}×)" if name == THEIRS else ""),
                ],
                met,
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=TASKS, metavar="NAME", default=None)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--peers", action="store_true", help="the same networks in PyTorch, too")
    parser.add_argument("--output", type=Path, default=None, help="file to write the table to")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    if options.peers and (absent := missing("pytorch")):
        print(f"PyTorch left out: {absent}")
        options.peers = False
    rows, all_met = [], True
    for name in [name for name in TASKS if name in (options.only or TASKS)]:
        print(name, flush=True)
        with threadpool_limits(options.threads):
            reached = run(TASKS[name], options)
        for row, met in lines(name, TASKS[name], reached):
            print(" | ".join(row), flush=True)
            rows.append(row)
            all_met &= met
    header = ["task", "model", "metric", "mean", "each seed", "target", "", "seconds"]
    command = f"python -m benchmarks.tokens.accuracy --seeds {' '.join(map(str, options.seeds))}"
    command += f" --threads {options.threads}{' --peers' if options.peers else ''}"
    command += " --rehearse" if options.rehearse else ""
    titles = "\n".join(f"- {name}: {task.title}" for name, task in TASKS.items())
    text = (
        f"## Accuracy\n\n`{command}`; {os.cpu_count()} cores, {platform.machine()}.\n\n"
        f"{titles}\n\n{TEXT}\n{table(header, rows)}\n"
    )
    print("\n" + text)
    output = options.output
    if output is None and options.only is None and not options.rehearse:
        output = page.PAGE
    if output is not None:
        page.write(output, "accuracy", text)
    return 0 if all_met else 1


if __name__ == "__main__":
    raise SystemExit(main())

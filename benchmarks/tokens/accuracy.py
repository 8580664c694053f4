"""Accuracy of networks that read tokens, on real data.

    python -m benchmarks.tokens.accuracy --peers
    python -m benchmarks.tokens.accuracy --only names18 --seeds 0 1 --threads 2 --output FILE

For each task the best settings stand beside their target, and beside them the shortest call, which says
only what a network has to be told; models that are no networks; and with ``--peers`` the same network in
PyTorch. Writes a part of ``benchmarks/results/TOKENS.md`` for each task. ``--rehearse`` goes through all of
it with a few documents and one epoch, and writes nothing without ``--output``. The exit status is 1 when a
target is missed.

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
from benchmarks.tokens.baselines import Answer, Split, answered
from benchmarks.tokens.page import PAGE
from benchmarks.tokens.tasks import TASKS, Metric, TokenTask
from benchmarks.work import Unavailable

FEW, FEW_TESTED = 200, 100  # documents of a rehearsal
OURS, SHORTEST, THEIRS, TOGETHER = "best", "shortest", "pytorch", "together"
ORDER = OURS, TOGETHER, THEIRS, SHORTEST


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
        tokens, own = numbered(task.encoder(), split), list[Answer]()
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
                if name == OURS:
                    own.append(found)
                last = ", ".join(f"{reached[name].scores[m.name][seed][-1]:.4f}" for m in task.metrics)
                print(f"  split {fold}, seed {seed}, {name}: {last}, {found.seconds:.1f} s", flush=True)
        if len(own) > 1 and not own[0].model.return_sequences:
            reached[TOGETHER].add(task.metrics, None, tokens.y_test, together(own, tokens))
    return {name: found for name, found in reached.items() if found.seconds}


def together(answers: list[Answer], split: Split) -> Answer:
    """By the mean of what several networks think probable."""
    mean = np.mean([answer.model.predict_proba(split.X_test) for answer in answers], axis=0)
    classes = answers[0].model.classes_
    return Answer(classes[mean.argmax(axis=1)], sum(answer.seconds for answer in answers), None)


# --- the table ------------------------------------------------------------------------------------
def described(task: TokenTask) -> str:
    """The network of the best settings in words."""
    settings = task.settings
    layers = "" if settings.get("num_layers", 1) == 1 else f"{settings['num_layers']} layers of a "
    directions = "bidirectional " if settings.get("bidirectional") else ""
    name = task.classifier.__name__.removesuffix("Classifier")
    top = "CRF" if settings.get("loss") == "crf" else settings.get("pooling", "last")
    return f"{layers}{directions}{name} of {settings['hidden_size']}, {top}, {settings['max_iter']} epochs"


def lines(task: TokenTask, reached: dict[str, Reached]) -> Iterator[tuple[list[str], bool]]:
    """Rows of the table, and whether a target is met, where there is one."""
    names = {OURS: described(task), THEIRS: "the same in PyTorch", SHORTEST: "shortest call"}
    names[TOGETHER] = "mean of their probabilities"
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
                    names.get(name, name),
                    metric.name,
                    f"{mean:.4f}",
                    each if name in ORDER and name != TOGETHER else "–",
                    f">= {metric.target} (aim {metric.aim})" if name == OURS else "",
                    f"{verdict}, and the aim" if name == OURS and mean >= metric.aim else verdict,
                    number(seconds) + (f" ({seconds / ours:.2f}×)" if name == THEIRS else ""),
                ],
                met,
            )


def part(name: str, rows: list[list[str]], options: argparse.Namespace) -> str:
    """A task's part of the page."""
    command = (
        f"python -m benchmarks.tokens.accuracy --only {name} --seeds {' '.join(map(str, options.seeds))}"
    )
    command += f" --threads {options.threads}{' --peers' if options.peers else ''}"
    command += " --rehearse" if options.rehearse else ""
    header = ["model", "metric", "mean", "each seed", "target", "", "seconds"]
    about = f"`{command}`; {os.cpu_count()} cores, {platform.machine()}."
    return f"### {name}: {TASKS[name].title}\n\n{about}\n\n{table(header, rows)}\n"


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
    all_met = True
    for name in [name for name in TASKS if name in (options.only or TASKS)]:
        print(name, flush=True)
        with threadpool_limits(options.threads):
            reached = run(TASKS[name], options)
        rows = []
        for row, met in lines(TASKS[name], reached):
            print(" | ".join(row), flush=True)
            rows.append(row)
            all_met &= met
        if options.output is not None or not options.rehearse:
            PAGE.write(name, part(name, rows, options), options.output)
    return 0 if all_met else 1


if __name__ == "__main__":
    raise SystemExit(main())

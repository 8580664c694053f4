"""How large the vectors of tokens begin, and how many numbers they have: what several choices reach.

    python -m benchmarks.tokens.first_vectors

Accuracy on parts held back of the training data of rt_polarity (words; 12 % of two folds) and names18
(characters; a fifth of the names, two draws), with one layer and the settings of `benchmarks.tokens.tasks`.
By comparisons of this kind `skrnn.links.embedding` has its deviation, and ``embedding_size="auto"`` its rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split

from benchmarks.tokens.tasks import TASKS

DEVIATIONS, SIZES = (0.03, 0.1, 0.3, 1.0), (16, 32, 64, 128)


def held_back(name: str) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Documents to learn from, others, and the labels of both."""
    if name == "rt_polarity":
        for fold, split in enumerate(islice(TASKS[name].splits(), 2)):
            yield train_test_split(
                split.X_train, split.y_train, test_size=0.12, random_state=fold, stratify=split.y_train
            )
        return
    split = next(iter(TASKS[name].splits()))
    names, y = np.asarray(split.X_train, object), np.asarray(split.y_train)
    distinct = np.unique(names)
    for seed in (1, 2):
        held = np.isin(names, np.random.default_rng(seed).choice(distinct, len(distinct) // 5, replace=False))
        yield names[~held], names[held], y[~held], y[held]


def accuracy(name: str, size: int, deviation: float) -> float:
    """Mean over the parts."""
    task, found = TASKS[name], []
    for seed, (train, other, y_train, y_other) in enumerate(held_back(name)):
        encoder = task.encoder()
        X = encoder.fit_transform(train)
        shape = 1 + len(encoder.vocabulary_), size
        vectors = deviation * np.random.default_rng(seed).standard_normal(shape)
        model = task.best(y_train, seed, embedding_size=size, embedding_weights=vectors, num_layers=1)
        found.append(accuracy_score(y_other, model.fit(X, y_train).predict(encoder.transform(other))))
    return float(np.mean(found))


def main() -> None:
    for name in ("rt_polarity", "names18"):
        size = TASKS[name].settings["embedding_size"]
        for what, choices in (
            ("deviation", [(size, deviation) for deviation in DEVIATIONS]),
            ("size", [(size, 0.3) for size in SIZES]),
        ):
            row = [f"{choice[what == 'deviation']:g}: {accuracy(name, *choice):.4f}" for choice in choices]
            print(f"{name}, by {what}: " + ", ".join(row), flush=True)


if __name__ == "__main__":
    main()

"""The tasks: their data, how tokens are made, the settings, and what is to be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold

from benchmarks import datasets
from benchmarks.tokens import baselines
from benchmarks.tokens.baselines import Answer, Split
from benchmarks.tokens.words import ViewEncoder
from skrnn import GRUClassifier, LSTMClassifier
from skrnn.text import TokenEncoder, span_f1_score

# --- settings -------------------------------------------------------------------------------------
NAMES18: dict[str, Any] = {
    "hidden_size": 128, "num_layers": 2, "bidirectional": True, "embedding_size": 64, "dropout": 0.4,
    "recurrent_dropout": 0.2, "head_dropout": 0.5, "embedding_dropout": 0.05, "learning_rate": "cosine",
    "learning_rate_init": 5e-3, "max_iter": 25, "batch_size": 64,
}  # fmt: skip
NAMES18_BALANCE = 0.1  # see `balanced`
RT_POLARITY: dict[str, Any] = {
    "hidden_size": 64, "bidirectional": True, "pooling": "mean", "embedding_size": 100,
    "embedding_dropout": 0.3, "head_dropout": 0.5, "learning_rate": "cosine", "learning_rate_init": 2e-3,
    "max_iter": 5, "batch_size": 32,
}  # fmt: skip
CHAIN: dict[str, Any] = {"loss": "crf", "return_sequences": True}
SNIPS_SLOTS: dict[str, Any] = CHAIN | {
    "hidden_size": 100, "bidirectional": True, "embedding_size": [100, 30, 30, 10],
    "embedding_dropout": 0.1, "head_dropout": 0.4, "learning_rate": "cosine", "learning_rate_init": 3e-3,
    "max_iter": 10, "batch_size": 16,
}  # fmt: skip
SNIPS_INTENTS: dict[str, Any] = {
    "hidden_size": 64, "bidirectional": True, "pooling": "max", "embedding_size": [100, 30, 30, 10],
    "embedding_dropout": 0.3, "head_dropout": 0.5, "learning_rate": "cosine", "learning_rate_init": 2e-3,
    "max_iter": 6, "batch_size": 32,
}  # fmt: skip
SHORTEST: dict[str, Any] = {"embedding_size": "auto", "max_iter": 20}


def balanced(y: Iterable[Any], power: float) -> dict[Any, float]:
    """Weights that fall with that power of how often a class occurs, and have a mean of 1 over y."""
    classes, n = np.unique(y, return_counts=True)
    weights = n ** (-power)
    return dict(zip(classes.tolist(), (weights * n.sum() / (weights * n).sum()).tolist()))


# --- data -----------------------------------------------------------------------------------------
def names18() -> Iterator[Split]:
    yield Split(*datasets.load_names18())


def rt_polarity() -> Iterator[Split]:
    texts, y = datasets.load_rt_polarity()
    for train, test in StratifiedKFold(10, shuffle=True, random_state=0).split(texts, y):
        yield Split([texts[i] for i in train], y[train], [texts[i] for i in test], y[test])


def snips_slots() -> Iterator[Split]:
    (X_train, y_train, _), (X_test, y_test, _) = map(datasets.load_snips, ("train", "test"))
    yield Split(X_train, y_train, X_test, y_test)


def snips_intents() -> Iterator[Split]:
    (X_train, _, y_train), (X_test, _, y_test) = map(datasets.load_snips, ("train", "test"))
    yield Split(X_train, y_train, X_test, y_test)


# --- what is to be reached ------------------------------------------------------------------------
class Metric(NamedTuple):
    """A score, the least that is asked for, and what is aimed at."""

    name: str
    score: Callable[[Any, Any], float]  # labels and predictions
    target: float
    aim: float


def span_f1(y: Any, predicted: Any) -> float:
    return span_f1_score(y, list(predicted))


class TokenTask(NamedTuple):
    """Documents and labels, how the documents become tokens, and the models.

    Attributes
    ----------
    splits : callable
        One split, or one for each fold.
    encoder : callable
        Makes a transformer from documents to tokens.
    shortest : dict
        What a call has to say at least.
    balance : float
        Where it is not 0, classes are weighed; see `balanced`.
    others : dict
        Models that are no networks.
    """

    title: str
    splits: Callable[[], Iterator[Split]]
    encoder: Callable[[], Any]
    classifier: type
    settings: dict[str, Any]
    shortest: dict[str, Any]
    metrics: tuple[Metric, ...]
    others: dict[str, Callable[[Split], Answer]]
    balance: float = 0.0

    def best(self, y: Any, seed: int, **changed: Any) -> Any:
        """The classifier with the settings that were chosen."""
        weights = {"class_weight": balanced(y, self.balance)} if self.balance else {}
        return self.classifier(random_state=seed, **self.settings | weights | changed)

    def plain(self, y: Any, seed: int, **changed: Any) -> Any:
        """The classifier of the shortest call."""
        return self.classifier(random_state=seed, **self.shortest | changed)


TASKS = {
    "names18": TokenTask(
        "the language of a surname, by its characters; the test part are other names",
        names18,
        lambda: TokenEncoder("char", lowercase=False),
        GRUClassifier,
        NAMES18,
        SHORTEST,
        (
            Metric("accuracy", accuracy_score, 0.84, 0.86),
            Metric("balanced accuracy", balanced_accuracy_score, 0.51, 0.56),
        ),
        {"TF-IDF of 1 to 4 characters, logistic regression": baselines.characters},
        balance=NAMES18_BALANCE,
    ),
    "rt_polarity": TokenTask(
        "whether a sentence of a review praises, by its words; 10 stratified folds",
        rt_polarity,
        TokenEncoder,
        GRUClassifier,
        RT_POLARITY,
        SHORTEST,
        (Metric("accuracy", accuracy_score, 0.765, 0.785),),
        {"TF-IDF of 1 to 2 words, logistic regression": baselines.words},
    ),
    "snips_slots": TokenTask(
        "what the words of a request to an assistant stand for, a tag for each; the data's own split",
        snips_slots,
        ViewEncoder,
        LSTMClassifier,
        SNIPS_SLOTS,
        SHORTEST | CHAIN,
        (Metric("F1 of spans", span_f1, 0.91, 0.94),),
        {
            "each word's most frequent tag": baselines.most_frequent_tag,
            "sklearn-crfsuite, features made by hand": baselines.crfsuite,
        },
    ),
    "snips_intents": TokenTask(
        "what such a request asks for, of seven; the data's own split",
        snips_intents,
        ViewEncoder,
        LSTMClassifier,
        SNIPS_INTENTS,
        SHORTEST,
        (Metric("accuracy", accuracy_score, 0.975, 0.983),),
        {"TF-IDF of 1 to 2 words, logistic regression": baselines.words_of_sentences},
    ),
}

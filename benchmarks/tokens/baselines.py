"""Models that are no networks: linear ones, tags by frequency, a CRF on features made by hand.

The n-grams of the linear ones and their C were chosen on parts held back of the training data.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from benchmarks.tokens.words import features
from benchmarks.work import Unavailable


class Split(NamedTuple):
    """Documents, or their tokens, with labels."""

    X_train: Any
    y_train: Any
    X_test: Any
    y_test: Any


class Answer(NamedTuple):
    """Predictions for the test part, the seconds that learning took, and by what was learnt."""

    predicted: Any
    seconds: float
    model: Any


def answered(fit: Callable[[Any, Any], Any], split: Split) -> Answer:
    """By what ``fit(X, y)`` makes, which has a method `predict`."""
    start = time.perf_counter()
    model = fit(split.X_train, split.y_train)
    seconds = time.perf_counter() - start
    return Answer(model.predict(split.X_test), seconds, model)


def linear(C: float, **vectorizer: Any) -> Callable[[Split], Answer]:
    def answer(split: Split) -> Answer:
        model = make_pipeline(
            TfidfVectorizer(sublinear_tf=True, **vectorizer), LogisticRegression(C=C, max_iter=1000)
        )
        return answered(model.fit, split)

    return answer


characters = linear(10.0, analyzer="char_wb", ngram_range=(1, 4))  # which sees where a name begins and ends
words = linear(10.0, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]")


def words_of_sentences(split: Split) -> Answer:
    """Of documents that are lists of words."""
    X_train, X_test = ([" ".join(row) for row in X] for X in (split.X_train, split.X_test))
    return linear(10.0, ngram_range=(1, 2), token_pattern=r"\S+")(
        split._replace(X_train=X_train, X_test=X_test)
    )


class MostFrequentTag:
    """Each word's in the training part; words that it has not are outside of all spans."""

    def fit(self, X: Any, y: Any) -> MostFrequentTag:
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for row, tags in zip(X, y):
            for word, tag in zip(row, tags):
                counts[word][tag] += 1
        self.tags = {word: found.most_common(1)[0][0] for word, found in counts.items()}
        return self

    def predict(self, X: Any) -> list[list[str]]:
        return [[self.tags.get(word, "O") for word in row] for row in X]


def most_frequent_tag(split: Split) -> Answer:
    return answered(MostFrequentTag().fit, split)


def crfsuite(split: Split) -> Answer:
    """With the settings of its tutorial; making the features counts."""
    if find_spec("sklearn_crfsuite") is None:
        raise Unavailable("not installed: sklearn-crfsuite")
    from sklearn_crfsuite import CRF

    model = CRF(algorithm="lbfgs", c1=0.1, c2=0.1, max_iterations=100, all_possible_transitions=True)

    def fit(X: Any, y: Any) -> Any:
        return model.fit([features(row) for row in X], y)

    split = split._replace(X_test=[features(row) for row in split.X_test])
    return answered(fit, split)

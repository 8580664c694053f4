"""Classifiers of few labels that begin with the layers of a language model (Howard & Ruder 2018, "Universal
language model fine-tuning for text classification").

    python -m benchmarks.language.pretraining
    python -m benchmarks.language.pretraining --labels 100 300 1000 --seeds 0 1 2 --output FILE

Sentences of reviews, rt_polarity: the language model reads nine tenths of them, without labels; a classifier
of the same layers learns from a few of them with labels, beginning with its weights or with random ones; the
last tenth is scored. TF-IDF with logistic regression stands beside both.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from benchmarks.language.page import PAGE
from benchmarks.page import measured_by
from benchmarks.report import table
from benchmarks.tokens.tasks import rt_polarity
from skrnn import LSTMClassifier
from skrnn.text import LSTMLanguageModel, TokenEncoder

SIZE, VECTORS = 128, 100
SETTINGS: dict[str, Any] = {
    "embedding_size": VECTORS, "pooling": "mean", "head_dropout": 0.5, "embedding_dropout": 0.3,
    "learning_rate": "cosine", "learning_rate_init": 1e-3, "max_iter": 15, "batch_size": 16,
}  # fmt: skip


def classifier(model: LSTMLanguageModel, seed: int) -> LSTMClassifier:
    """That begins with the layers of a language model."""
    weights = {name: w for name, w in model.weights_.items() if not name.startswith("head.")}
    head = {"head.weight": np.zeros((1, SIZE)), "head.bias": np.zeros(1)}
    return LSTMClassifier(SIZE, warm_start=True, random_state=seed, **SETTINGS).set_weights(weights | head)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--labels", nargs="+", type=int, default=[100, 300, 1000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    split, rows, gains = next(rt_polarity()), [], []
    with threadpool_limits(options.threads):
        model = LSTMLanguageModel(
            SIZE, embedding_size=VECTORS, encoder=TokenEncoder(min_df=2), dropout=0.3, max_iter=12,
            random_state=0,
        ).fit(split.X_train)  # fmt: skip
        print(f"perplexity of the last tenth: {model.perplexity(split.X_test):.1f}", flush=True)
        encode = model.encoder_.transform
        tokens, test = encode(split.X_train), encode(split.X_test)
        for n in options.labels:
            scores = {"begun": list[float](), "random": list[float](), "linear": list[float]()}
            for seed in options.seeds:
                few, _ = train_test_split(
                    np.arange(len(tokens)), train_size=n, stratify=split.y_train, random_state=seed
                )
                y = split.y_train[few]
                fitted = {
                    "begun": classifier(model, seed).fit(tokens[few], y),
                    "random": LSTMClassifier(
                        SIZE, n_tokens=model.n_tokens_, random_state=seed, **SETTINGS
                    ).fit(tokens[few], y),
                }
                for name, each in fitted.items():
                    scores[name].append(each.score(test, split.y_test))
                linear = make_pipeline(
                    TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)), LogisticRegression(C=10)
                )
                texts = [split.X_train[i] for i in few]
                scores["linear"].append(linear.fit(texts, y).score(split.X_test, split.y_test))
            means = [float(np.mean(scores[name])) for name in ("begun", "random", "linear")]
            gains.append(means[0] - means[1])
            rows.append([f"{n:,}", *(f"{mean:.3f}" for mean in means)])
            print(" | ".join(rows[-1]), flush=True)
    command = (
        f"benchmarks.language.pretraining --labels {' '.join(map(str, options.labels))} "
        f"--seeds {' '.join(map(str, options.seeds))}"
    )
    header = ["labels", "begins with the language model", "begins at random", "TF-IDF, logistic regression"]
    text = f"## Few labels\n\n{measured_by(command)}\n\n{table(header, rows)}\n"
    print("\n" + text)
    if options.output is not None:
        PAGE.write("pretraining", text, options.output)
    return 0 if min(gains) > 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())

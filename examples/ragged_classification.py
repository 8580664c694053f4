"""Tell pen gestures apart, each drawn in its own time: ragged sequences, no padding.

Four gestures (circle, eight, zigzag, spiral) are drawn at different sizes, speeds, angles and
starting points by a trembling hand; the tablet reports the pen's movement (dx, dy) at a fixed rate,
so that every drawing has its own number of steps. The list of arrays goes into scikit-learn's
cross-validation as it is. Printed are the accuracy beside that of a classifier on summary figures,
and a check that a drawing gets the same probabilities, to the bit, alone or among others.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrnn import GRUClassifier, SequenceTransformer

GESTURES = {
    "circle": lambda a: (np.cos(a), np.sin(a)),
    "eight": lambda a: (np.sin(a), np.sin(2 * a)),
    "zigzag": lambda a: (a / np.pi - 1, np.abs((2 * a / np.pi) % 2 - 1)),
    "spiral": lambda a: (a / 6 * np.cos(2 * a), a / 6 * np.sin(2 * a)),
}


def draw(gesture, rng):
    """One drawing as an array of pen movements, (T, 2)."""
    n_steps = rng.integers(15, 60)
    angle = np.linspace(0, 2 * np.pi, n_steps + 1) + (gesture != "spiral") * rng.uniform(0, 6.3)
    if gesture == "zigzag":
        angle -= angle[0]
    x, y = GESTURES[gesture](angle)
    turn = rng.uniform(-0.5, 0.5)
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    pen = rng.uniform(0.5, 2) * np.column_stack([x, y])
    return np.diff(pen, axis=0) + rng.normal(0, 0.05, (n_steps, 2))


rng = np.random.default_rng(0)
y = rng.permutation(np.repeat(list(GESTURES), 100))
X = [draw(gesture, rng) for gesture in y]
lengths = np.array([len(drawing) for drawing in X])
print(f"{len(X)} drawings of {lengths.min()} to {lengths.max()} steps, {lengths.sum()} in all")

folds = StratifiedKFold(5, shuffle=True, random_state=0)
summary = np.array([[len(d), *d.mean(0), *d.std(0), *np.abs(d).sum(0)] for d in X])
baseline = make_pipeline(StandardScaler(), LogisticRegression())
print(f"on summary figures:  {cross_val_score(baseline, summary, y, cv=folds).mean():.3f}")

model = make_pipeline(
    SequenceTransformer(StandardScaler()),
    GRUClassifier(32, max_iter=40, learning_rate_init=3e-3, random_state=0),
)
print(f"on the whole line:   {cross_val_score(model, X, y, cv=folds).mean():.3f}")

together = model.fit(X, y).predict_proba(X)
alone = np.vstack([model.predict_proba([drawing]) for drawing in X])
print(f"same probabilities alone and together, to the bit: {np.array_equal(alone, together)}")

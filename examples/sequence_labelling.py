"""Label every minute of a long DataFrame: is the heater on?

Thermometers in 40 rooms report a noisy temperature each minute. The heater goes on below 19 degrees
and off above 21; in between, only the past tells. Rooms enter and leave the log at their own times,
so the sequences are ragged. A network with `return_sequences=True` gives one label per step and
remembers; logistic regression on the reading of the minute cannot. Both are scored flat, over all
minutes of the rooms left out. Last, the predictions go back into the DataFrame.
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrnn import (
    GRUClassifier,
    SequenceTransformer,
    flat_accuracy_scorer,
    from_long_frame,
    to_long_frame,
)


def room(name, rng):
    """The log of one room: minute, temperature (as measured) and heater."""
    start, n_minutes = rng.integers(0, 600), rng.integers(60, 300)
    true, heating, rows = rng.uniform(18, 22), False, []
    for minute in range(start, start + n_minutes):
        heating = true < 19 or (heating and true < 21)
        true += (0.12 if heating else -0.08) + rng.normal(0, 0.05)
        measured = true + rng.normal(0, 0.3)
        rows.append((name, minute, measured, "on" if heating else "off"))
    return pd.DataFrame(rows, columns=["room", "minute", "temperature", "heater"])


rng = np.random.default_rng(0)
log = pd.concat([room(f"room {i}", rng) for i in range(40)], ignore_index=True)
log = log.sample(frac=1, random_state=0)  # the order of rows does not matter: time is a column

X, y, rooms = from_long_frame(log, "room", "minute", ["temperature"], label_col="heater")
print(f"{len(log)} minutes in {len(rooms)} rooms, {len(X[0])} in the first of them ({rooms[0]})")

folds = KFold(4, shuffle=True, random_state=0)
model = make_pipeline(
    SequenceTransformer(StandardScaler()),
    GRUClassifier(
        16,
        return_sequences=True,
        batch_size=4,
        max_iter=30,
        learning_rate_init=0.01,
        random_state=0,
    ),
)
scores = cross_val_score(model, X, y, cv=folds, scoring=flat_accuracy_scorer)
print(f"network, accuracy per fold:         {scores.round(3)}, mean {scores.mean():.3f}")

per_minute = make_pipeline(StandardScaler(), LogisticRegression())
scores = [
    per_minute.fit(np.vstack(X[train]), np.concatenate(y[train])).score(
        np.vstack(X[test]), np.concatenate(y[test])
    )
    for train, test in folds.split(X)
]
print(f"single minutes, accuracy per fold:  {np.round(scores, 3)}, mean {np.mean(scores):.3f}")

predicted = cross_val_predict(model, X, y, cv=folds)  # one array per room, of its own length
labelled = to_long_frame(predicted, log, "room", "minute", name="predicted").join(
    log[["temperature", "heater"]]
)
print("\nfive minutes of the log, as labelled by a network that never saw the room:")
print(labelled.sort_values(["room", "minute"]).head().to_string(index=False))

"""Events with categories, from a DataFrame with a row for each: which visits to a shop end with an order?

Each event has a kind and a department, which are categories, and the seconds since the last one, a number.
Every category gets a table of vectors, the number goes in beside them. What makes people order is an order of
events: a payment that fails is forgiven if help comes before the basket is emptied, and a search leads
somewhere only in the department of the last view. A boosted tree on counts of the events, which knows no
order, stands beside it.
"""

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from skrnn import LSTMClassifier, from_long_frame

KINDS = ["view", "search", "basket", "empty", "error", "help"]
DEPARTMENTS = ["books", "garden", "music", "toys", "wine"]
rng = np.random.default_rng(0)


def visit():
    """The events of one visit, and whether it ended with an order."""
    n = rng.integers(3, 30)
    kind = rng.choice(len(KINDS), n, p=[0.35, 0.25, 0.15, 0.08, 0.09, 0.08])
    department = rng.choice(len(DEPARTMENTS), n)
    seconds = rng.gamma(2.0, 15.0, n)
    interest, viewed, angry = 0.0, -1, False
    for k, d, s in zip(kind, department, seconds, strict=True):
        interest *= np.exp(-s / 300)  # who waits, forgets
        name = KINDS[k]
        if name == "view":
            viewed = d
        elif name == "search" and d == viewed:
            interest += 1.5
        elif name == "basket":
            interest += 1.0
        elif name == "error":
            angry = True
        elif name == "help":
            angry = False
        elif name == "empty":
            interest -= 3.0 if angry else 0.5
    events = pd.DataFrame({"kind": np.array(KINDS)[kind], "department": np.array(DEPARTMENTS)[department]})
    return events.assign(seconds=seconds), rng.random() < 1 / (1 + np.exp(2 - 1.5 * interest))


visits = [visit() for _ in range(6000)]
table = pd.concat([events.assign(visit=i, event=range(len(events))) for i, (events, _) in enumerate(visits)])
table = table.astype({"kind": "category", "department": "category"})
ordered = np.array([order for _, order in visits])

table["log_seconds"] = np.log(table["seconds"]) - 3
X, _, ids = from_long_frame(table, "visit", "event", ["kind", "department", "log_seconds"])
train, test = train_test_split(ids, test_size=0.25, random_state=0)
network = LSTMClassifier(
    32, embedding_size="auto", categorical_features=[0, 1], learning_rate="cosine", learning_rate_init=5e-3,
    max_iter=15, head_dropout=0.2, random_state=0,
)  # fmt: skip
network.fit(X[train], ordered[train])
score = roc_auc_score(ordered[test], network.predict_proba(X[test])[:, 1])

counts = pd.crosstab(table["visit"], [table["kind"]]).join(table.groupby("visit")["seconds"].sum())
counts = counts.join(pd.crosstab(table["visit"], table["department"])).to_numpy()
trees = HistGradientBoostingClassifier(random_state=0).fit(counts[train], ordered[train])
of_counts = roc_auc_score(ordered[test], trees.predict_proba(counts[test])[:, 1])

print(f"{len(X)} visits, {len(table)} events, {ordered.mean():.0%} of the visits end with an order")
print(f"area under the ROC curve: {score:.3f} from the events in order, {of_counts:.3f} from their counts")
print("tables of vectors:", {name: w.shape for name, w in network.weights_.items() if "embedding" in name})
stream = network.stream(method="predict_proba")
print("a visit while it goes on, and the chance of an order after each event:")
for step, (_, event) in zip(X[test[0]], visits[test[0]][0].iterrows(), strict=True):
    chance = stream.step(step)[1]
    print(f"  {event['kind']:>7} {event['department']:<7} {event['seconds']:5.0f} s {chance:6.2f}")

"""Tags for the words of a message: who lives where, found by a network with a CRF on top.

The messages are made here, of Faker's names, streets and towns in phrases that people write; 200 of them
are learnt from. Each word is four categories, itself, its first and last letters and its shape, so that one
never seen before still says something. The CRF weighs the tags of a message together: it learns that a street
goes on and does not begin twice. The same network without it, each tag by itself, stands beside it.
"""

import re

import numpy as np
from faker import Faker

from skrnn import LSTMClassifier
from skrnn.text import TokenEncoder, span_f1_score

Faker.seed(0)
fake, rng = Faker(["en_GB", "de_DE", "es_ES"]), np.random.default_rng(0)
PHRASES = [
    "{name} lives at {number} {street} in {town}", "{name} , {number} {street} , {postcode} {town}",
    "please send it to {name} {street} {number} {postcode} {town} thank you",
    "my friend {name} has moved from {town} to {town}", "{number} parcels for {name} , {street} {number}",
    "is {street} in {town} or in {town} ?", "call {name} after {number} or write to {postcode} {town}",
    "{name} and {name} share a flat at {street} {number} , {town}",
]  # fmt: skip


def filler(kind):
    """Words of one kind."""
    text = {
        "name": fake.name, "street": fake.street_name, "town": fake.city, "postcode": fake.postcode,
        "number": lambda: str(rng.integers(1, 200)),
    }[kind]()  # fmt: skip
    return re.findall(r"\w+|[^\w\s]", text if rng.random() < 0.6 else text.lower())


def message():
    """Words and their tags: of a place or a person B for the first word and I for the others, else O."""
    words, tags = [], []
    for part in PHRASES[rng.integers(len(PHRASES))].split():
        kind = part.strip("{}") if part.startswith("{") else None
        own = [part] if kind is None else filler(kind)
        words += own
        tags += (
            ["O"] * len(own) if kind in (None, "number") else [f"B-{kind}"] + [f"I-{kind}"] * (len(own) - 1)
        )
    return words, tags


def shape(word):
    """Capitals, letters and digits, each run as one: "NW1" is "A0"."""
    return re.sub(r"(.)\1+", r"\1", re.sub(r"[0-9]", "0", re.sub(r"[a-z]", "a", re.sub(r"[A-Z]", "A", word))))


messages = [message() for _ in range(1200)]
words, tags = ([pair[k] for pair in messages] for k in range(2))
views = {
    "word": str.lower,
    "prefix": lambda w: w[:3].lower(),
    "suffix": lambda w: w[-3:].lower(),
    "shape": shape,
}
encoders = {name: TokenEncoder("tokens", min_df=2) for name in views}
train, test = slice(0, 200), slice(200, None)
columns = []
for name, view in views.items():
    viewed = [[view(word) for word in own] for own in words]
    encoders[name].fit(viewed[train])
    columns.append(encoders[name].transform(viewed))
X = [np.column_stack(own) for own in zip(*columns, strict=True)]

print(
    f"{len(words)} messages, for example: " + " ".join(f"{w}/{t}" for w, t in zip(*messages[0], strict=True))
)
for label, loss in {"with a CRF": "crf", "each tag by itself": "log_loss"}.items():
    tagger = LSTMClassifier(
        48, embedding_size=[32, 16, 16, 8], return_sequences=True, loss=loss, bidirectional=True,
        head_dropout=0.3, embedding_dropout=0.1, learning_rate="cosine", learning_rate_init=5e-3, max_iter=30,
        random_state=0,
    )  # fmt: skip
    tagger.fit(X[train], tags[train])
    found = list(tagger.predict(X[test]))
    score = span_f1_score(tags[test], found)
    broken = sum(
        tag.startswith("I-") and before not in (tag, f"B-{tag[2:]}")
        for own in found
        for before, tag in zip(["O", *own], own, strict=False)
    )
    print(f"{label:>20}: F1 of the spans {score:.3f}, {broken} tags that go on with what had not begun")
    if loss == "crf":
        scores, names = tagger.weights_["crf.transitions"], tagger.classes_.tolist()
        after = names.index("B-street")
        print("after B-street: " + ", ".join(f"{n} {scores[after, k]:+.1f}" for k, n in enumerate(names)))

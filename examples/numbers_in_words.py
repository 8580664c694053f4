"""A network translates numbers in words from French to English: "quatre-vingt-deux" is "eighty-two".

It learns from pairs of texts and nothing else; the numbers that it is asked about were in none of them. The
picture shows where it looks for each word that it writes.
"""

from pathlib import Path
from tempfile import gettempdir

import numpy as np
from num2words import num2words

from skrnn.text import AlignmentDisplay, GRUTranslator

numbers = np.random.default_rng(0).choice(1_000_000, 6500, replace=False).tolist()
french, english = ([num2words(number, lang=lang) for number in numbers] for lang in ("fr", "en"))
train, test = slice(None, 6000), slice(6000, None)

model = GRUTranslator(64, max_iter=15, learning_rate_init=1e-2, random_state=0)
model.fit(french[train], english[train])
seconds = model.history_["seconds"][-1]
print(f"{len(french[train]):,} numbers, {model.n_iter_} passes in {seconds:.0f} s")

found = model.predict(french[test])
right = np.mean([own == other for own, other in zip(found, english[test])])
print(f"of {len(found)} other numbers {right:.1%} are translated without a mistake, such as")
for k in range(3):
    print(f"  {french[test][k]}\n    {found[k]}")
print("and the best of what it thinks of the first:")
for text, log_prob in model.predict_n_best(french[test][:1], 3)[0]:
    print(f"  {np.exp(log_prob):.4f} {text}")

display = AlignmentDisplay.from_estimator(model, french[test][0])
path = Path(gettempdir()) / "numbers_in_words.png"
display.figure_.savefig(path)
print(f"what it looks at is in {path}")

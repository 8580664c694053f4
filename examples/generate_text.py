"""A network learns to write from a text, character by character.

The text is Python's own documentation of its language, which comes with the standard library; its last tenth
is never trained on. How well a model knows it is told by its perplexity: between how many characters, as it
were, the next one has to be guessed. Beside the network is a model of characters that follow on up to seven
others, the best one without a network. At the end the network writes some of its own.
"""

import textwrap
from collections import Counter, defaultdict
from math import exp, log
from pydoc_data.topics import topics

from skrnn.text import LSTMLanguageModel

LONGEST = 7  # characters that the model of n-grams looks back to
text = "\n\n".join(topics[name] for name in sorted(topics))
n = len(text) // 10
train, test = text[:-n], text[-n:]

model = LSTMLanguageModel(128, max_iter=14, random_state=0).fit(train)
seconds = model.history_["seconds"][-1]
print(f"{len(train):,} characters, {model.n_iter_} passes in {seconds:.0f} s")


def follows(text: str) -> dict[str, Counter[str]]:
    """How often each character follows on each context of up to `LONGEST` others."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for at in range(len(text)):
        for k in range(min(at, LONGEST) + 1):
            counts[text[at - k : at]][text[at]] += 1
    return counts


def perplexity(counts: dict[str, Counter[str]], context: str, text: str) -> float:
    """Of n-grams, the longer ones mixed with the shorter ones (Witten & Bell 1991)."""
    whole, total, n_characters = context[-LONGEST:] + text, 0.0, 1 + len(counts[""])
    for at in range(len(whole) - len(text), len(whole)):
        p = 1 / n_characters
        for k in range(min(at, LONGEST) + 1):
            if (seen := counts.get(whole[at - k : at])) is not None:
                n = seen.total()
                p = (seen[whole[at]] + len(seen) * p) / (n + len(seen))
        total += log(p)
    return exp(-total / len(text))


print(f"perplexity of {n:,} other characters:")
print(f"  the network                       {model.perplexity(test, context=train[-500:]):.2f}")
print(f"  its state forgotten every 64      {model.perplexity(test, block_size=64):.2f}")
print(f"  n-grams of up to {LONGEST} characters     {perplexity(follows(train), train, test):.2f}")

print("\nwhat may follow on 'The value of the expres':")
print(model.predict_next("The value of the expres", top=3).to_string(index=False))

start = "The statement "
print("\nand what the network writes:\n")
written = start + model.generate(start, 500, temperature=0.6, random_state=1)
for line in written.splitlines():
    print(textwrap.fill(line, 78, initial_indent="  ", subsequent_indent="  "))

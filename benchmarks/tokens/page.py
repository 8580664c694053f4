"""The page of results, of which each program writes a part."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.tokens.tasks import TASKS

PAGE = Path(__file__).parents[1] / "results" / "TOKENS.md"
HEAD = """\
# Networks that read tokens

Written by `python -m benchmarks.tokens.accuracy`, a part for each task, and by
`python -m benchmarks.tokens.speed`.

## Accuracy

Settings are in `benchmarks/tokens/tasks.py`; targets are for the best ones, the first row of each task. "Mean
of their probabilities": of the networks of all seeds, as
`np.mean([m.predict_proba(X) for m in models], axis=0)`. The shortest call is the same pipeline with only
`embedding_size="auto"`, `max_iter=20` and, for slots, `loss="crf"` and `return_sequences=True`. Means are
over the seeds, and over the folds where there are some.

Seconds are those of one fit: of networks on tokens that are ready, after a first fit of one epoch, so that
nothing is compiled in them; of other models on documents. In brackets: how many times as long PyTorch takes.
Its network is of the same sizes and learns from as many minibatches of the same size, with the same optimiser
and learning rates; it has no dropout of hidden units in time, and drops single numbers of vectors in the
place of tokens.

"""
PARTS = (*TASKS, "speed")


def write(path: Path, part: str, text: str) -> None:
    """Write one part; the others stay as they are."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    parts = dict(re.findall(r"<!-- (\w+) -->\n(.*?\n)(?=\n<!-- |\Z)", before, re.DOTALL))
    parts[part] = text.strip() + "\n"
    whole = "\n".join(f"<!-- {name} -->\n{parts[name]}" for name in PARTS if name in parts)
    path.write_text(f"{HEAD}\n{whole}".rstrip() + "\n", encoding="utf-8")
    print(f"written to {path}")

"""The page of results, of which each program writes a part."""

from __future__ import annotations

from benchmarks.page import RESULTS, Page
from benchmarks.tokens.tasks import TASKS

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
PAGE = Page(RESULTS / "TOKENS.md", HEAD, (*TASKS, "speed"))

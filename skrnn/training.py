"""Training: epochs of minibatches, schedules, validation, early stopping, history."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from . import inference
from .inference import Chunk, pick, read
from .losses import Loss
from .network import Dropout, Network
from .sequences import Sequences


class Data(NamedTuple):
    """Sequences with their targets.

    Attributes
    ----------
    sequences : Sequences
    y : ndarray of shape (n, n_targets), or (rows of `sequences.values`, n_targets) per step
    w : ndarray of shape (n,) or (rows of `sequences.values`,), or None for equal weights
    """

    sequences: Sequences
    y: np.ndarray
    w: np.ndarray | None


@dataclass
class Settings:
    """What the loop needs to know; see the estimators' parameters of the same names."""

    batch_size: int
    learning_rate: str
    learning_rate_init: float
    warmup_steps: int
    max_grad_norm: float | None
    tbptt_steps: int | None
    max_iter: int
    shuffle: bool
    tol: float
    n_iter_no_change: int
    early_stopping: bool


@dataclass
class Progress:
    """How far a fit has come; `warm_start` hands it on to the next one."""

    n_iter: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    interrupted: bool = False

    def copy(self) -> Progress:
        """So that a fit that fails leaves the earlier one's progress alone."""
        return replace(self, history=list(self.history))


class Diverged(ValueError):
    """The loss or its gradient is no longer a finite number."""

    def __init__(self, what: str, settings: Settings) -> None:
        remedies = [f"a smaller learning_rate_init (now {settings.learning_rate_init:g})"]
        if settings.max_grad_norm is None or settings.max_grad_norm > 1:
            remedies.append("max_grad_norm=1.0")
        remedies.append("scaling X and y")
        super().__init__(f"{what} is not finite any more. Try {', '.join(remedies)}.")


PLATEAU_FACTOR = 0.2  # as scikit-learn's "adaptive"
PLATEAU_END = 1e-3  # of the first rate: below it, training ends


class Trainer:
    """One network in training: parameters, optimiser, random numbers.

    Parameters
    ----------
    rng : RandomState
        Order of the minibatches.
    seed : int
        Of the dropout masks.
    """

    def __init__(self, network: Network, params, optimizer, loss: Loss, settings: Settings, rng, seed: int):
        self.network, self.params, self.optimizer, self.loss = network, params, optimizer, loss
        self.settings, self.rng, self.seed = settings, rng, seed
        self.grads = np.empty_like(params)
        self.last_batch = np.empty(0, np.intp)

    # --- one pass over the data --------------------------------------------------------------------
    def epoch(self, data: Data, number: int, rate: Callable[[float], float]) -> dict[str, float]:
        """Train on every minibatch once; `rate(done)` is the learning rate after that share of it."""
        n, s = len(data.sequences), self.settings
        order = self.rng.permutation(n) if s.shuffle else np.arange(n)
        batches = [order[start : start + s.batch_size] for start in range(0, n, s.batch_size)]
        updates = [
            update
            for k, batch in enumerate(batches)
            for update in self._minibatch(
                data, batch, number, lambda done, k=k: rate((k + done) / len(batches))
            )
        ]
        if not updates:  # every weight was zero in every minibatch
            return {"loss": math.nan, "learning_rate": s.learning_rate_init, "gradient_norm": math.nan}
        values, weights, norms, rates = zip(*updates, strict=True)
        return {
            "loss": sum(values) / sum(weights),
            "learning_rate": rates[-1],
            "gradient_norm": float(np.mean(norms)),
        }

    def _minibatch(
        self, data: Data, batch: np.ndarray, epoch: int, rate
    ) -> Iterator[tuple[float, float, float, float]]:
        """Update once, or once per chunk; yields (sum of w l, sum of w, gradient norm, rate)."""
        network, lengths = self.network, data.sequences.lengths
        self.last_batch = batch = batch[np.argsort(-lengths[batch], kind="stable")]
        uses_dropout = network.dropout > 0 or network.recurrent_dropout > 0
        state, pooled = None, None
        for chunk in read(network, data.sequences, batch, self.settings.tbptt_steps):
            B = len(chunk.steps)
            y, w = self._targets(data, batch[:B], chunk)
            last = chunk.first + len(chunk.steps.counts) >= chunk.lengths[0]
            learns = w is None or w.any()
            if not learns and last:
                return
            pass_ = network.forward(
                self.params, chunk.X, chunk.steps, keep=learns, lengths=chunk.lengths,
                state=None if state is None else pick(state, slice(B)),
                pooled=None if pooled is None else pooled[:B],
                dropout=Dropout(self.seed, epoch, batch[:B], chunk.first) if uses_dropout else None,
            )  # fmt: skip
            if not last:
                state, pooled = pass_.state(), pass_.pooled
                pooled = None if pooled is None else pooled.copy()
            if learns:
                yield self._update(pass_, y, w, rate(chunk.first / lengths[batch[0]]))

    def _targets(self, data: Data, batch: np.ndarray, chunk: Chunk):
        """Targets and weights of a chunk. One per sequence counts where the sequence ends."""
        if self.network.return_sequences:
            return data.y[chunk.rows], None if data.w is None else data.w[chunk.rows]
        y = data.y[batch]
        w = None if data.w is None else data.w[batch]
        if not chunk.ends.all():
            w = chunk.ends.astype(self.network.dtype) if w is None else w * chunk.ends
        return y, w

    def _update(self, pass_, y, w, learning_rate: float) -> tuple[float, float, float, float]:
        s = self.settings
        value, weight, dout = self.loss(pass_.out, y, w)
        if not math.isfinite(value):
            raise Diverged("The loss", s)
        pass_.backprop(dout, self.grads)
        norm = self.optimizer.step(self.params, self.grads, learning_rate)
        if not math.isfinite(norm):
            raise Diverged("The gradient", s)
        return value, weight, norm, learning_rate

    # --- the whole fit -----------------------------------------------------------------------------
    def fit(
        self,
        data: Data,
        progress: Progress,
        *,
        score: Callable[[np.ndarray], float] | None = None,
        on_epoch: Callable[[dict[str, float]], bool] | None = None,
    ) -> None:
        """Train for up to `max_iter` epochs; leaves the parameters to keep in `self.params`.

        Parameters
        ----------
        progress : Progress
            Continued.
        score : callable, optional
            ``score(params)`` on the validation data, higher is better.
        on_epoch : callable, optional
            Gets each new row of the history; returns True to stop.

        Raises
        ------
        Diverged
            If a loss or a gradient is not finite.

        Notes
        -----
        An interrupt (Ctrl-C) ends the fit after the running minibatch: `progress.interrupted` says so.
        """
        s = self.settings
        progress.interrupted, best_loss, best_score = False, math.inf, -math.inf
        schedule = Schedule(s)
        best = self.params.copy() if s.early_stopping else None
        waiting, started = 0, time.perf_counter()
        try:
            for epoch in range(s.max_iter):
                row = {"epoch": progress.n_iter + 1}
                row |= self.epoch(data, progress.n_iter, partial(schedule.rate, epoch))
                if score is not None:
                    row["validation_score"] = score(self.params)
                row["seconds"] = time.perf_counter() - started
                progress.n_iter += 1
                progress.history.append(row)

                improved = row["loss"] < best_loss - s.tol
                best_loss = min(best_loss, row["loss"])
                if score is not None:
                    value = row["validation_score"]
                    if s.early_stopping:
                        improved = value > best_score + s.tol
                    if value > best_score:
                        best_score = value
                        if best is not None:
                            best[:] = self.params
                waiting = 0 if improved else waiting + 1
                if on_epoch is not None and on_epoch(row):
                    break
                if waiting >= s.n_iter_no_change:
                    if s.learning_rate != "plateau" or not schedule.lower():
                        break
                    waiting = 0
        except KeyboardInterrupt:
            progress.interrupted = True
        if best is not None and math.isfinite(best_score):
            self.params[:] = best
        try:
            self.check(data)
        except Diverged:
            if progress.interrupted:  # Ctrl-C must reach an enclosing search, which may go on after errors
                raise KeyboardInterrupt from None
            raise

    def check(self, data: Data) -> None:
        """Raise `Diverged` if the last update has spoilt the outputs for the minibatch it saw."""
        if len(self.last_batch):
            n_rows = len(self.last_batch) * (self.settings.tbptt_steps or inference.ROWS)
            raw, _ = inference.run(
                self.network, self.params, data.sequences.take(self.last_batch), n_rows=n_rows
            )
            if not np.isfinite(raw).all():
                raise Diverged("The output", self.settings)


class Schedule:
    """The learning rate of each update.

    "constant"; "cosine": half a cosine down to zero over all epochs (Loshchilov & Hutter 2017,
    without restarts); "plateau": lowered by the loop. All after a linear rise over `warmup_steps`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.base = settings.learning_rate_init
        self.n_updates = 0

    def rate(self, epoch: int, done: float) -> float:
        """For the next update, once the share `done` of this fit's epoch number `epoch` is behind."""
        s, rate = self.settings, self.base
        if s.learning_rate == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * (epoch + done) / s.max_iter))
        self.n_updates += 1
        if self.n_updates < s.warmup_steps:
            rate *= self.n_updates / s.warmup_steps
        return rate

    def lower(self) -> bool:
        """Take the next step down; False when the rate is too small to go on."""
        self.base *= PLATEAU_FACTOR
        return self.base >= PLATEAU_END * self.settings.learning_rate_init


def history_columns(history: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Columns of the history, ready for ``pandas.DataFrame``; NaN where a row has no value."""
    names = ("epoch", "loss", "validation_score", "learning_rate", "gradient_norm", "seconds")
    columns = {name: np.array([row.get(name, math.nan) for row in history]) for name in names}
    return columns | {"epoch": columns["epoch"].astype(int)}

"""Training: epochs of minibatches, schedules, validation, early stopping, history."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from . import links
from .batches import JOB_COUNT, JOB_FIRST, JOB_LEARNS, JOB_SIZE, JOB_START, Jobs, Steps
from .history import Progress
from .interrupts import deferred, look
from .losses import Loss
from .network import Network
from .recording import TOKENS
from .rooms import Held, HeldTargets, Room
from .sequences import Sequences, Targets
from .sessions import Predictor


class Data(NamedTuple):
    """Sequences with their targets.

    Attributes
    ----------
    sequences : Sequences
    y : Targets
        One for each sequence, or per step one for each row of `sequences.values`.
    w : ndarray of shape (n,) or (rows of `sequences.values`,), or None for equal weights
    mates : Sequences or None
        Of pairs: the other side.
    """

    sequences: Sequences
    y: Targets
    w: np.ndarray | None
    mates: Sequences | None = None


@dataclass
class Settings:
    """What the loop needs to know; see the estimators' parameters of the same names.

    `steps_per_row`: updates of a row of the history, which are those of an epoch otherwise.
    """

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
    steps_per_row: int | None = None


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
    room : Room, optional
        For the data and those of later calls (see `take`), which are copied then, instead of being read where
        they are.
    """

    def __init__(
        self, network: Network, params, optimizer, loss: Loss, settings: Settings, rng, seed: int, data: Data,
        room: Room | None = None,
    ):  # fmt: skip
        self.network, self.params, self.optimizer, self.loss = network, params, optimizer, loss
        self.settings, self.rng, self.seed, self.data = settings, rng, seed, data
        self.predictor, recorded = Predictor(network, params), data
        asked = len(data.sequences.values) if network.return_sequences else len(data.sequences)
        if len(data.y) != asked:  # kernels do not look
            raise ValueError(f"{len(data.y)} targets for {asked} of the network's outputs")
        if room is not None:
            per_step = network.return_sequences
            self._held = Held(room, network.n_in, network.dtype)
            self._targets = HeldTargets(room.steps if per_step else room.n, data.y, data.w, per_step)
            recorded = Data(self._held.sequences, self._targets.y, self._targets.w)
        mates = None if data.mates is None else data.mates.lengths
        self.jobs = Jobs(recorded.sequences.lengths, settings.batch_size, settings.tbptt_steps, mates)
        n_jobs = len(self.jobs.table)
        self.rates, self.statistics = np.zeros(n_jobs), np.zeros((n_jobs, 3))
        steps = self.jobs.room() if room is None else room.minibatch(self.jobs)
        self.rows = steps.max_rows
        self.tape = self._record(recorded, steps)
        if room is not None:
            self.take(data)

    def take(self, data: Data) -> None:
        """Train on these, for which there is room, from now on."""
        self.network.check_tokens(data.sequences, TOKENS)
        self.data = data
        self._targets.copy(data.y, data.w, self._held.copy(data.sequences))

    def _record(self, data: Data, steps: Steps) -> Any:
        """A tape that trains on the next job: reads it, runs forward and, if it learns, updates."""
        network, jobs, (sequences, y, w, mates) = self.network, self.jobs, data
        tape = network.backend.Tape(network.n_threads)
        grads = network.backend.aligned(network.parameters.n_dense, network.dtype)
        statistics = self.statistics.reshape(-1)
        rec = network.record(
            tape, steps, self.params, grads, dropout_seed=self.seed, keep=True,
            carry=self.settings.tbptt_steps is not None,
        )  # fmt: skip
        self.work = rec.work
        out = network.forward(rec, network.read(rec, sequences, jobs, mates))
        loss = links.Objective("out", network.n_out, self.loss, y, w, statistics, jobs.cursor)
        with tape.only_if(jobs.job[JOB_LEARNS:]):
            loss.forward(rec, out)
            network.backward(rec, *loss.backward(rec, need=(True,)))
            self.optimizer.update(
                tape, self.params, grads, self.rates, statistics, jobs.cursor, rec.tables.values()
            )
        return tape

    # --- one pass over the data --------------------------------------------------------------------
    def epoch(self, number: int, rate: Callable[[float], float]) -> dict[str, float]:
        """Train on every minibatch once; `rate(done)` is the learning rate after that share of it."""
        ((_, row),) = self.parts(number, rate, None)
        return row

    def parts(
        self, number: int, rate: Callable[[float], float], n_updates: int | None
    ) -> Iterator[tuple[float, dict[str, float]]]:
        """The same in parts of about `n_updates`: after each, the share of the epoch that is behind, and the
        row of the history."""
        s, jobs, n = self.settings, self.jobs, len(self.data.sequences)
        table = jobs.plan(self.rng.permutation(n) if s.shuffle else np.arange(n), number)
        table = self._mark_learning(table)
        learns = np.flatnonzero(table[:, JOB_LEARNS])
        if not len(learns):  # every weight was zero in every minibatch
            yield 1.0, {"loss": math.nan, "learning_rate": s.learning_rate_init, "gradient_norm": math.nan}
            return
        n_batches = -(-n // jobs.batch_size)
        longest = self.data.sequences.lengths[jobs.order[table[:, JOB_START]]]
        done = (table[:, JOB_START] // jobs.batch_size + table[:, JOB_FIRST] / longest) / n_batches
        self.statistics[:] = 0
        mean_rows, flops = self.data.sequences.n_steps / len(table), self.network.flops
        n_parts = 1 if n_updates is None else max(1, round(len(learns) / n_updates))
        end = 0
        for part in np.array_split(learns, n_parts):
            self.rates[part] = [rate(share) for share in done[part].tolist()]
            begin, end = end, int(part[-1]) + 1 if part[-1] < learns[-1] else len(table)
            self.tape.run(end - begin, flops(mean_rows, training=True), flops(self.rows, training=True))
            if self.tape.stop[0]:
                value, _, _ = self.statistics[jobs.cursor[0]]
                raise Diverged("The gradient" if math.isfinite(value) else "The loss", s)
            values, weights, norms = self.statistics[part].T
            yield (
                end / len(table),
                {
                    "loss": float(values.sum() / weights.sum()),
                    "learning_rate": float(self.rates[part[-1]]),
                    "gradient_norm": float(norms.mean()),
                },
            )

    def _mark_learning(self, table: np.ndarray) -> np.ndarray:
        """Set JOB_LEARNS where a job has a target with a weight; drop the jobs after a minibatch's last
        such one. Returns the rows in use."""
        w, order, sequences = self.data.w, self.jobs.order, self.data.sequences
        starts, lengths = sequences.starts, sequences.lengths
        per_step, chunked = self.network.return_sequences, self.settings.tbptt_steps is not None
        if w is None and (per_step or not chunked):
            return table
        for job in table:
            first, end = job[JOB_FIRST], job[JOB_FIRST] + job[JOB_SIZE]
            batch = order[job[JOB_START] : job[JOB_START] + job[JOB_COUNT]]
            batch = batch[lengths[batch] > first]
            if not per_step:
                batch = batch[lengths[batch] <= end]
                job[JOB_LEARNS] = len(batch) > 0 and (w is None or bool(w[batch].any()))
            else:
                ends = np.minimum(lengths[batch], end)
                job[JOB_LEARNS] = any(
                    w[starts[i] + first : starts[i] + stop].any() for i, stop in zip(batch, ends, strict=True)
                )
        # a chunk before one that learns is read for its states
        last = np.append(table[1:, JOB_FIRST] == 0, True)
        keep, later = np.zeros(len(table), bool), False
        for k in range(len(table) - 1, -1, -1):
            later = bool(table[k, JOB_LEARNS]) or (later and not last[k])
            keep[k] = later
        table[: keep.sum()] = table[keep]
        return table[: keep.sum()]

    # --- the whole fit -----------------------------------------------------------------------------
    def fit(
        self,
        progress: Progress,
        *,
        score: Callable[[], float] | None = None,
        on_epoch: Callable[[dict[str, float]], bool] | None = None,
    ) -> None:
        """Train for up to `max_iter` epochs; leaves the parameters to keep in `self.params`.

        Parameters
        ----------
        progress : Progress
            Continued.
        score : callable, optional
            On the validation data, by the parameters as they stand; higher is better.
        on_epoch : callable, optional
            Gets each new row of the history; returns True to stop.

        Raises
        ------
        Diverged
            If a loss or a gradient is not finite.

        Notes
        -----
        An interrupt (Ctrl-C) ends the fit after the running minibatch: `progress.interrupted` says so. Before
        the first one it is raised: there is nothing to keep.
        """
        s = self.settings
        progress.interrupted, best_loss, best_score = False, math.inf, -math.inf
        schedule = Schedule(s)
        best = self.params.copy() if s.early_stopping else None
        waiting, started, n_steps = 0, time.perf_counter(), self.optimizer.n_steps[0]
        try:
            rows = self._rows(progress, schedule)
            while True:
                with deferred():  # an interrupt falls between minibatches, where the tape looks, or hereafter
                    row = next(rows, None)
                    if row is None:
                        break
                    if score is not None:
                        row["validation_score"] = score()
                    row["seconds"] = time.perf_counter() - started
                    progress.add(row)

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
                look()  # in a turn on a GPU, interrupts are deferred
                if waiting >= s.n_iter_no_change:
                    if s.learning_rate != "plateau" or not schedule.lower():
                        break
                    waiting = 0
        except KeyboardInterrupt:
            if self.optimizer.n_steps[0] == n_steps:
                raise
            progress.interrupted = True
        with deferred():  # also a second one
            if best is not None and math.isfinite(best_score):
                self.params[:] = best
            checked = False
            while not checked:
                try:
                    self.check()
                    checked = True
                except KeyboardInterrupt:
                    progress.interrupted = True
                except Diverged:
                    if (
                        progress.interrupted
                    ):  # it must reach an enclosing search, which may go on after errors
                        raise KeyboardInterrupt from None
                    raise

    def _rows(self, progress: Progress, schedule: Schedule) -> Iterator[dict[str, float]]:
        """Of the history, as training goes on."""
        n_updates = self.settings.steps_per_row
        for epoch in range(self.settings.max_iter):
            number, before = progress.n_iter, float(progress.epoch)
            for done, row in self.parts(number, partial(schedule.rate, epoch), n_updates):
                yield {"epoch": number + 1 if n_updates is None else before + done} | row

    def check(self) -> None:
        """Raise `Diverged` if the last update has spoilt the outputs for the minibatch it saw."""
        jobs = self.jobs
        if not jobs.job[JOB_COUNT]:  # none was read
            return
        start, first, size = jobs.job[JOB_START], jobs.job[JOB_FIRST], jobs.job[JOB_SIZE]
        sequences, y, _, mates = self.data
        batch = jobs.order[start : start + jobs.job[JOB_COUNT]]
        if len(batch) < len(sequences) or self.settings.tbptt_steps is not None:  # small ones are known again
            batch = batch[sequences.lengths[batch] > first]  # of what is read in chunks, the last one will do
            sequences = sequences.take(batch).chunk(first, size)
            mates = None if mates is None else mates.take(batch)
            y = y if self.network.return_sequences else y.take(batch)
        what: dict[str, Any] = {"mates": mates}
        if isinstance(self.network.links[-1], links.Softmax):  # whose scores are too many
            what["log_prob"] = y
        if self.network.chain is not None:  # whose arrays may be spoilt, too
            what["wanted"] = "marginals"
        if not np.isfinite(self.predict(sequences, **what)).all():
            raise Diverged("The output", self.settings)

    def predict(self, sequences: Sequences, **what: Any) -> np.ndarray:
        """Raw outputs of the network as it stands; see `inference.run`."""
        self.predictor.renew()
        return self.predictor.run(sequences, self.network.n_threads, **what)[0]


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

"""Decoding: a network writes tokens, each chosen from the scores of a step and read as the next input.

All of it happens on the tape: a replay reads the tokens of all texts that are being written, makes one step,
chooses, and lets those that have ended leave. A text is written by one row, which samples, or searched for by
the rows of a beam (Graves 2012, "Sequence transduction with recurrent neural networks"; with exact scores).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .batches import SIZE_B, SIZE_R, SIZE_T, Jobs, Steps
from .inference import State
from .interrupts import deferring
from .links import Embedding
from .network import Network
from .recording import TOKENS, Recording
from .sequences import TOKEN, Sequences


@dataclass
class Choices:
    """What is chosen at each step, and what has come of it, in arrays that a tape's kernels fill.

    Parameters
    ----------
    n : int
        Texts.
    width : int
        Rows that search for each of them; 1 of those that are sampled.
    max_steps : int
        Tokens of a text, at most.
    end : int
        The token that ends a text; -1: none.
    temperature : float
        Tokens are sampled from softmax(scores / temperature); 0: the best are searched for.
    top_k : int or None
        Of so many most probable tokens; None: of all.
    top_p : float
        Of these, the fewest that have at least this share of their probability (Holtzman et al. 2020, "The
        curious case of neural text degeneration").
    length_penalty : float
        Searches rank texts that have ended by log p / length ** length_penalty.
    never : tuple of int
        Up to three tokens that are not chosen. The log probability of a text that is searched for is by the
        scores of all tokens, that of one that is sampled by those of the others.
    seed : int
        With the text's number and that of the step it makes the random number of a choice.

    Attributes
    ----------
    tokens, total, parent : ndarray of shape (n * width,)
        Of the rows that are being written: what they read next; the log probability of what they have
        written; the row of the step before that they continue.
    step : ndarray of shape (1,)
        Tokens written so far.
    written, came_from : ndarray of shape (max_steps * n * width,)
        Tokens and parents of all rows at each step.
    n_ended : ndarray of shape (n,)
        Texts that have been found, at most `width`.
    ended_token, ended_step, ended_row, ended_total, ended_rank : ndarray of shape (n * width,)
        Of each, in no order: its last token, the step and the row that wrote it, its log probability, its
        rank.
    """

    n: int
    width: int = 1
    max_steps: int = 100
    end: int = -1
    temperature: float = 0.0
    length_penalty: float = 0.0
    seed: int = 0
    top_k: int | None = None
    top_p: float = 1.0
    never: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (
            ("n", 1),
            ("width", 1),
            ("max_steps", 1),
            ("temperature", 0),
            ("length_penalty", 0),
        ):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if self.temperature < np.finfo(np.float64).tiny:  # what kernels take for zero
            self.temperature = 0.0
        if len(self.never) > 3 or min(self.never, default=0) < 0:
            raise ValueError(f"never must be up to three tokens, got {self.never}")
        if self.temperature > 0 and self.width > 1:
            raise ValueError("texts are sampled, with a temperature, or searched for, with a width")
        n_rows = self.n_rows
        self.tokens, self.total = np.zeros(n_rows, TOKEN), np.zeros(n_rows)
        self.parent, self.step = np.zeros(n_rows, np.intp), np.zeros(1, np.intp)
        self.written = np.zeros(self.max_steps * n_rows, TOKEN)
        self.came_from = np.zeros(self.max_steps * n_rows, np.intp)
        self.n_ended = np.zeros(self.n, np.intp)
        self.ended_token, self.ended_step, self.ended_row = np.zeros((3, n_rows), np.intp)
        self.ended_total, self.ended_rank = np.zeros((2, n_rows))

    @property
    def n_rows(self) -> int:
        """That are written at a time, at most."""
        return self.n * self.width

    def n_candidates(self, n_tokens: int) -> int:
        """For the next token of a row: one more than go on, since one may end the text; a width of 1 always
        takes the most probable one."""
        one = self.temperature > 0 or self.width == 1
        return 1 if one else min(self.width + 1, n_tokens - len(self.never))

    @property
    def rules(self) -> tuple[int, int, float]:
        """What `skrnn.choosing` goes by."""
        return self.max_steps, self.end, float(self.length_penalty)

    @property
    def left_out(self) -> tuple[int, int, int]:
        """Three tokens; -1: none."""
        never, never_1, never_2 = (*map(int, self.never), -1, -1, -1)[:3]
        return never, never_1, never_2

    @property
    def sampling(self) -> tuple[float, int, float, int]:
        """What chance goes by."""
        top_k = np.iinfo(np.int32).max if self.top_k is None else int(self.top_k)
        return float(self.temperature), top_k, float(self.top_p), self.seed

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What it fills."""
        return (
            self.tokens, self.total, self.parent, self.step, self.written, self.came_from, self.n_ended,
            self.ended_token, self.ended_step, self.ended_row, self.ended_total, self.ended_rank,
        )  # fmt: skip

    def buffers(self, rec: Recording, n: int) -> Iterator[Any]:
        """Where n candidates of each row lie, values and tokens; and what the next rows will be."""
        float64, integers = np.dtype(np.float64), np.dtype(np.intp)
        yield rec.buffer("candidates", "values", size=self.n_rows * n, dtype=float64)
        yield rec.buffer("candidates", "tokens", size=self.n_rows * n, dtype=integers)
        yield rec.buffer("next", "total", size=self.n_rows, dtype=float64)
        for name in "taken", "sequence", "mate":
            yield rec.buffer("next", name, size=self.n_rows, dtype=integers)

    def begin(self, tokens: np.ndarray) -> None:
        """New texts, whose first input are these tokens (n,)."""
        self.tokens[: self.n], self.total[:], self.step[0], self.n_ended[:] = tokens, 0, 0, 0

    def texts(self, i: int) -> list[Text]:
        """What has been found for text i, best first."""
        found = []
        for at in range(i * self.width, i * self.width + self.n_ended[i]):
            tokens = [*self.path(self.ended_step[at], self.ended_row[at]), self.ended_token[at]]
            ended = tokens[-1] == self.end
            text = Text(np.array(tokens, TOKEN), float(self.ended_total[at]), bool(ended))
            found.append((-self.ended_rank[at], at, text))
        return [text for _, _, text in sorted(found, key=lambda item: item[:2])]

    def path(self, n_steps: int, row: int) -> list[int]:
        """What leads in the first steps to the row that has made the last of them, or goes on from there."""
        tokens, n_rows = list[int](), self.n_rows
        for step in range(n_steps - 1, -1, -1):
            tokens.append(int(self.written[step * n_rows + row]))
            row = self.came_from[step * n_rows + row]
        return tokens[::-1]


class Text(NamedTuple):
    """What has been written.

    Attributes
    ----------
    tokens : ndarray of int32
        The one that ends it included.
    log_prob : float
        Of all of them.
    ended : bool
        Whether it has come to its end, before there were too many tokens.
    """

    tokens: np.ndarray
    log_prob: float
    ended: bool


class Decoder:
    """A network whose last link is a `Softmax`, recorded to write.

    Parameters
    ----------
    network : Network
        It reads tokens and, of pairs, `mates`; no numbers.
    params : flat device array
    choices : Choices
    mates : Sequences, optional
        Of pairs: the other side of each text, such as the sentence that is translated.
    n_threads : int, optional
        Instead of the network's.
    """

    def __init__(
        self, network: Network, params: np.ndarray, choices: Choices, mates: Sequences | None = None,
        n_threads: int | None = None,
    ) -> None:  # fmt: skip
        n_rows, backend = choices.n_rows, network.backend
        for name, token in ("end", choices.end), ("never", max(choices.never, default=0)):
            if network.n_out <= token:
                raise ValueError(f"{name}={token} is none of {network.n_out} tokens")
        if network.pool or network.attention or any(len(link.layers) > 1 for link in network.recurrent):
            raise ValueError("a network that writes reads step by step: it cannot pool, or read backwards")
        if mates is not None and len(mates) != choices.n:
            raise ValueError(f"{choices.n} texts, but {len(mates)} mates")
        for link in network.links:
            if isinstance(link, Embedding) and link.reads == (TOKENS,) and link.n_tokens < network.n_out:
                raise ValueError(
                    f"{link.name!r} has {link.n_tokens} tokens, and {network.n_out} can be written"
                )
        self._network, self._choices, self._steps = network, choices, Steps(n_rows, 1, n_rows)
        self._steps.lengths[:] = 1
        self._begins, self._mates = np.zeros(1, np.intp), None
        self._tape = tape = backend.Tape(network.n_threads if n_threads is None else n_threads)
        # Products with the vectors of all tokens, made once, where more of them are read.
        folds = backend.folding is not None and network.n_out <= n_rows * choices.max_steps
        once = self._begins if folds else None
        rec = network.record(tape, self._steps, params, carry=True, once=once)
        inputs = backend.next_tokens(rec, choices)
        if mates is not None:
            self._mates = jobs = Jobs(mates.lengths, choices.n, None)
            with tape.only_if(self._begins):
                inputs |= network.read(rec.pair(jobs.room()), mates, jobs)
        self._carried = [rows for own in network.carried(rec) for rows in own]
        # Where links make the first states, none are given.
        n_given = 0 if any(len(link.reads) > 1 for link in network.recurrent) else len(self._carried)
        self._first = [np.zeros((choices.n, network.hidden_size), network.dtype) for _ in range(n_given)]
        for given, rows in zip(self._first, self._carried, strict=False):
            backend.start_from(rec, given, rows)  # before the first step
        scores = network.forward(rec, inputs, begins=self._begins).rows(rec)
        backend.choose(rec, scores, network.n_out, choices)
        for rows in self._carried:
            backend.follow(rec, rows, choices)
        self._flops = network.flops(n_rows)

    @deferring
    def write(self, tokens: np.ndarray, state: State | None = None) -> list[list[Text]]:
        """New texts, which these tokens (n,) begin and do not belong to: what was found for each, best first.

        Parameters
        ----------
        state : State or None
            First states, as after what has been read before; None: zeros, or what the links make.
        """
        self.begin(tokens, state)
        self.go_on(self._choices.max_steps)
        return self.found()

    @deferring
    def begin(self, tokens: np.ndarray, state: State | None = None) -> None:
        """Begin new texts, which `go_on` writes; see `write`."""
        n, steps, choices = self._choices.n, self._steps, self._choices
        first = Sequences.from_tokens(np.asarray(tokens)[:, None])
        if len(first) != n:
            raise ValueError(f"{n} texts, but {len(first)} first tokens")
        self._network.check_tokens(first, TOKENS)
        choices.begin(first.tokens[:, 0])
        steps.sizes[:], steps.counts[0], steps.sequence[:n] = 0, n, np.arange(n)
        steps.sizes[[SIZE_B, SIZE_T, SIZE_R]] = n, 1, n
        if self._mates is not None:
            order = np.argsort(-self._mates.lengths, kind="stable")
            self._mates.plan(order)
            steps.mate[order] = np.arange(n)
        if state is not None and not self._first:
            raise ValueError("links of this network make its first states: none can be given")
        shapes = [states.shape for states in self._first]
        parts = [np.zeros(shape) for shape in shapes] if state is None else state.arrays()
        if [part.shape for part in parts] != shapes:
            raise ValueError(f"first states of shapes {[p.shape for p in parts]}, expected {shapes}")
        for states, part in zip(self._first, parts, strict=True):
            states[:] = part
        self._begins[0], self._tape.stop[0] = 1, 0

    @deferring
    def go_on(self, n_steps: int) -> bool:
        """Write up to so many more tokens of each; False when all texts have ended."""
        choices, tape = self._choices, self._tape
        for most in (1, n_steps - 1) if self._begins[0] else (n_steps,):
            left = min(most, choices.max_steps - int(choices.step[0]))
            if left > 0 and not tape.stop[0]:
                tape.run(left, self._flops)
            self._begins[0] = 0
        return not tape.stop[0]

    def written(self, i: int) -> list[int]:
        """Of text i, which is sampled, as far as it has come."""
        (rows,) = np.nonzero(self._steps.sequence[: self._steps.sizes[SIZE_B]] == i)
        if len(rows):
            return self._choices.path(int(self._choices.step[0]), int(rows[0]))
        (text,) = self._choices.texts(i)
        return text.tokens.tolist()

    def found(self) -> list[list[Text]]:
        """The texts that have ended, best first.

        Raises
        ------
        ValueError
            If scores were not finite.
        """
        found = [self._choices.texts(i) for i in range(self._choices.n)]
        for i, own in enumerate(found):
            if not all(np.isfinite(text.log_prob) for text in own):
                raise ValueError(f"the scores of text {i} are not finite")
        return found

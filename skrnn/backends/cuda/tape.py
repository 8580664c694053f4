"""Tapes on a GPU: launches and products recorded once and replayed for every minibatch.

The host plays no part in a replay but for starting it: what changes from one to the next, kernels read
from memory of the device. Arrays of the host have twins there, sent before the first replay or fetched
after the last. Launches between two products are one CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ...batches import Steps
from ...interrupts import look
from . import turns
from .device import Launch, Matrix
from .jit import THREADS

SPAN = 16_384  # terms that one product adds up


class DeviceSteps:
    """`Steps` on the device, and for each packed row the numbers of its step and sequence (`step_of`,
    `place_of`) and the row of the same step counted from the sequence's end (`mirror`)."""

    def __init__(self, tape: Tape, steps: Steps) -> None:
        self.max_sequences, self.max_steps, self.max_rows = (
            steps.max_sequences,
            steps.max_steps,
            steps.max_rows,
        )
        for name in ("sizes", "counts", "row_at", "lengths", "whole", "sequence", "row", "mate"):
            setattr(self, name, tape.twin(getattr(steps, name)))
        self.step_of, self.place_of, self.mirror = (
            tape.device.empty(steps.max_rows, np.dtype(np.intp)) for _ in range(3)
        )


@dataclass
class Section:
    """Calls that are made, or left out, together."""

    condition: np.ndarray | None
    calls: list[Launch | Callable[[], None]] = field(default_factory=list)


class Tape:
    """A list of launches, products and what the host does between them.

    Attributes
    ----------
    stop : ndarray of shape (1,)
        A kernel that sets its twin to 1 ends what later replays change.
    """

    def __init__(self, n_threads: int = 1) -> None:
        self.device = turns.current()
        self.stop = np.zeros(1, np.intp)
        # By address; the host's are kept, so that no other array gets it.
        self._twins: dict[tuple, tuple[Any, np.ndarray]] = {}
        self._sent: list[tuple[Any, np.ndarray]] = []
        self._fetched: list[tuple[Any, np.ndarray]] = []
        self._steps: dict[int, tuple[DeviceSteps, Steps]] = {}
        self._sections = [Section(None)]
        self._players: list[tuple[np.ndarray | None, list[Callable[[], None]]]] | None = None
        self.updated(self.stop)

    # --- arrays of the host ------------------------------------------------------------------------
    def twin(self, host: np.ndarray) -> Any:
        """The device's array for one of the host: the same for the same memory."""
        key = host.__array_interface__["data"][0], host.size, host.dtype.char
        if key not in self._twins:
            self._twins[key] = self.device.empty(host.size, host.dtype), host
        return self._twins[key][0]

    def sent(self, host: np.ndarray) -> Any:
        """Its twin, which is filled before the first of a run's replays."""
        self._add(self._sent, host)
        return self.twin(host)

    def fetched(self, host: np.ndarray) -> Any:
        """Its twin, which is read back after the last of a run's replays."""
        self._add(self._fetched, host)
        return self.twin(host)

    def updated(self, host: np.ndarray) -> Any:
        """Its twin, `sent` and `fetched`."""
        self.sent(host)
        return self.fetched(host)

    def _add(self, transfers: list[tuple[Any, np.ndarray]], host: np.ndarray) -> None:
        array = self.twin(host)
        if not any(array is other for other, _ in transfers):
            transfers.append((array, host))

    def steps(self, steps: Steps) -> DeviceSteps:
        if id(steps) not in self._steps:
            self._steps[id(steps)] = DeviceSteps(self, steps), steps
        return self._steps[id(steps)][0]

    # --- recording ---------------------------------------------------------------------------------
    def each(self, kernel: Any, n: int, *args: Any) -> None:
        """Record a kernel that goes through up to `n` items in strides."""
        self.launch(kernel, self.device.grid(n), (THREADS,), *args)

    def once(self, kernel: Any, *args: Any) -> None:
        """Record a kernel that works in one block."""
        self.launch(kernel, 1, (THREADS,), *args)

    def launch(
        self, kernel: Any, grid: int, block: tuple[int, ...], *args: Any, shared_bytes: int = 0
    ) -> None:
        """Record a launch."""
        self._append(Launch(kernel, grid, block, shared_bytes, tuple(map(plain, args))))

    def multiply(
        self, a: Matrix, b: Matrix, c: Matrix, *, ta: bool = False, tb: bool = False, add: bool = False
    ) -> None:
        """Record c = a @ b, or c += a @ b; `ta` and `tb`: of a or b transposed.

        Sums of more than SPAN terms, such as gradients over the steps of long sequences, are made span by
        span: the error of one that float32 adds up term by term grows with its length.
        """
        terms = a.n_rows if ta else a.n_columns
        for k in range(0, terms, SPAN):
            n = min(SPAN, terms - k)
            parts = a.rows(k, n) if ta else a.columns(k, n), b.columns(k, n) if tb else b.rows(k, n)
            # not a lambda, which would hold this tape: its memory is to go back as soon as nobody uses it
            self._append(partial(self.device.multiply, *parts, c, ta, tb, add or k > 0))

    def on_host(self, function: Callable[[], None]) -> None:
        """Record something that Python does."""
        self._append(function)

    def _append(self, call: Launch | Callable[[], None]) -> None:
        self._sections[-1].calls.append(call)
        self._players = None

    @contextmanager
    def only_if(self, condition: np.ndarray) -> Iterator[None]:
        """What is recorded meanwhile is left out of a replay while ``condition[0]`` is 0, which the host
        looks at: something that it does before has to tell it."""
        self._sections.append(Section(condition))
        try:
            yield
        finally:
            self._sections.append(Section(None))

    # --- replays -----------------------------------------------------------------------------------
    def run(self, times: int = 1, flops: float = 0.0, most_flops: float | None = None) -> None:
        """Replay; returns when the device has finished and what is to be `fetched` is here."""
        self.device.check_memory()
        self._send()
        try:
            for _ in range(times):
                look()
                self._replay()
        finally:  # Ctrl-C: what has been started will be finished
            self._fetch()

    def player(self) -> Callable[[], None]:
        """A function that replays once."""
        return self.run

    def _send(self) -> None:
        for array, host in self._sent:
            self.device.copy_in(array, host)
        self.device.synchronize()  # before the host's change

    def _fetch(self) -> None:
        for array, host in self._fetched:
            self.device.copy_out(host, array)
        self.device.synchronize()

    def _replay(self) -> None:
        if self._players is None:
            self._players = [(section.condition, self._compile(section.calls)) for section in self._sections]
        for condition, calls in self._players:
            if condition is None or condition[0]:
                for call in calls:
                    call()

    def _compile(self, calls: list[Launch | Callable[[], None]]) -> list[Callable[[], None]]:
        """Neighbouring launches as one call."""
        compiled: list[Callable[[], None]] = []
        launches: list[Launch] = []
        for call in calls:
            if isinstance(call, Launch):
                launches.append(call)
                continue
            if launches:
                compiled.append(self.device.sequence(launches))
                launches = []
            compiled.append(call)
        return compiled + ([self.device.sequence(launches)] if launches else [])

    def launches(self) -> list[Launch]:
        """The recorded launches, in order, without the products: for the check that all of them compile."""
        return [call for section in self._sections for call in section.calls if isinstance(call, Launch)]


def plain(arg: Any) -> Any:
    """NumPy's integers and booleans as Python's."""
    return arg.item() if isinstance(arg, np.integer | np.bool_) else arg

"""Ctrl-C where it must not fall: it waits for the end of a block, or for a look.

Python raises KeyboardInterrupt between any two instructions of the main thread. Most of this package can
bear that. A few blocks cannot: a compiler keeps what it has half registered, a helper thread is started and
not yet noted. Inside of `deferred` a SIGINT is noted; the handler that was there is called when the block
ends, or where the block calls `look`. Nor can a callback that Python runs meanwhile, of a weak reference or
the garbage collector, swallow the interrupt, as they do elsewhere.
"""

from __future__ import annotations

import os
import threading
from _signal import getsignal  # `signal` makes enums of what these take and give: 12 µs a block, and not 1.4
from _signal import signal as set_handler
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from signal import SIGINT
from types import FrameType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

NUMBER = int(SIGINT)


class deferred:  # read as a word: `with deferred():`
    """``with deferred():`` Ctrl-C waits until the block has ended.

    Nothing happens in other threads, which get none, where the process ignores SIGINT or leaves it to the
    system, and inside of another such block. A user's own handler waits, too, and gets its arguments.
    """

    __slots__ = ("before", "seen", "thread")

    def __enter__(self) -> None:
        self.before: Any = None
        handler = getsignal(NUMBER)
        if not callable(handler) or type(handler) is deferred:
            return
        self.seen: list[tuple[int, FrameType | None]] = []
        self.thread = threading.get_ident()
        try:
            set_handler(NUMBER, self)
        except ValueError:  # not the main thread of the main interpreter
            return
        self.before = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler meanwhile."""
        self.seen.append((number, frame))

    def __exit__(self, *error: object) -> None:
        if self.before is None:
            return
        if getsignal(NUMBER) is self:  # else somebody has set another
            set_handler(NUMBER, self.before)
        self.fall()

    def fall(self) -> None:
        """Call the earlier handler for what was seen."""
        seen, self.seen = self.seen, []
        for signal in seen:
            self.before(*signal)


def deferring(function: F) -> F:
    """The function, with Ctrl-C deferred while it runs."""

    @wraps(function)
    def whole(*args: Any, **options: Any) -> Any:
        with deferred():
            return function(*args, **options)

    return whole  # type: ignore[return-value]


# --- where an interrupt may fall ------------------------------------------------------------------------
class Abandoned(BaseException):
    """Nobody waits any more for what this thread does."""


_mine = threading.local()


class Errand:
    """What other threads do for one that waits in ``with Errand() as errand:``, each inside of
    ``errand.part()``. An error or an interrupt of the one that waits, which reaches no other thread, ends
    them at their next look."""

    abandoned = False

    def __enter__(self) -> Errand:
        return self

    def __exit__(self, kind: Any, *error: object) -> None:
        self.abandoned = kind is not None

    @contextmanager
    def part(self) -> Iterator[None]:
        before, _mine.errand = getattr(_mine, "errand", None), self
        try:
            yield
        finally:
            _mine.errand = before


def look() -> None:
    """Let fall here what waits.

    Raises
    ------
    KeyboardInterrupt
        Or whatever the handler of SIGINT raises.
    Abandoned
        In a thread whose work nobody waits for.
    """
    handler = getsignal(NUMBER)
    if type(handler) is deferred and handler.seen and handler.thread == threading.get_ident():
        handler.fall()
    errand = getattr(_mine, "errand", None)
    if errand is not None and errand.abandoned:
        raise Abandoned


def _release() -> None:
    """In a child that another thread than the deferring one has forked: nobody would end the block there."""
    handler = getsignal(NUMBER)
    if type(handler) is deferred and handler.thread != threading.get_ident():
        set_handler(NUMBER, handler.before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release)

"""Ctrl-C at a chosen place."""

import gc
import signal
import sys


def press():
    signal.raise_signal(signal.SIGINT)


def at_event(number, function, twice=0):
    """The error, or None, of a call in which SIGINT falls on that line or call of Python, and with `twice` on
    the one so many later; the number of both; and the file where it fell."""
    n, file = 0, None

    def trace(frame, event, arg):
        nonlocal n, file
        n += event in ("line", "call")
        if event in (
            "return",
            "exception",
        ):  # Python looks for signals before a function's code, not after it
            return trace
        if n == number or (twice and n == number + twice):
            file = frame.f_code.co_filename
            press()
        return trace

    before, collects = sys.gettrace(), gc.isenabled()
    gc.disable()  # Python swallows what is raised while it collects somebody else's garbage
    sys.settrace(trace)
    try:
        function()
    except BaseException as error:
        return error, n, file
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
    return None, n, file

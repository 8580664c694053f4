"""What a fresh process pays: importing, the first fit, and a whole job from start to end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.peers import missing

# --- fresh interpreters ---------------------------------------------------------------------------
PINNED = "from benchmarks.worker import pin; pin({threads})\n"


def seconds_inside(code: str, cache: str | None = None) -> float:
    """Run `code`, which sets `seconds`, in a fresh interpreter."""
    code = f"import time; start = time.perf_counter()\n{code}\nprint(seconds)"
    return float(run(["-c", code], cache).split()[-1])


def run(arguments: list[str], cache: str | None = None) -> str:
    environment = os.environ | ({} if cache is None else {"NUMBA_CACHE_DIR": cache})
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


# --- imports --------------------------------------------------------------------------------------
BASE = "import sklearn, numba"
IMPORTS = {
    "`import skrnn`": f"{BASE}, skrnn",
    "`from skrnn import LSTMRegressor`": f"{BASE}; from skrnn import LSTMRegressor",
    "every public name": f"{BASE}, skrnn; [getattr(skrnn, name) for name in skrnn.__all__]",
}


def imports(short: bool, threads: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """What importing adds to scikit-learn and Numba: the median of pairs."""
    for label, code in IMPORTS.items():
        pairs = []
        for k in range(2 if short else 8):
            statements = [BASE, code] if k % 2 else [code, BASE]
            pair = [seconds_inside(f"{each}\nseconds = time.perf_counter() - start") for each in statements]
            if k > 0:  # the first pair may have to write the bytecode
                pairs.append(pair if k % 2 else pair[::-1])
        base, both = np.transpose(pairs)
        yield {
            "label": label,
            "times": {"base": timing.summary(base), "with_skrnn": timing.summary(both)},
            "added": timing.summary(both - base),
        }


# --- first fits -----------------------------------------------------------------------------------
FIRST_FIT = """
import numpy as np, skrnn
rng = np.random.default_rng(0)
X, y = rng.standard_normal((64, 50, 8)), rng.standard_normal(64)
model = {model}
start = time.perf_counter()
model.fit(X, y)
seconds = time.perf_counter() - start
"""
FIRST_FITS = {
    "LSTMRegressor": "skrnn.LSTMRegressor(max_iter=1)",
    "GRURegressor": "skrnn.GRURegressor(max_iter=1)",
    "RNNRegressor": "skrnn.RNNRegressor(max_iter=1)",
    "GRURegressor, reset_after=False": "skrnn.GRURegressor(max_iter=1, reset_after=False)",
    "LSTMRegressor, 2 bidirectional layers, dropout, max pooling, early stopping": (
        "skrnn.LSTMRegressor(max_iter=1, num_layers=2, bidirectional=True, dropout=0.2, "
        'recurrent_dropout=0.2, pooling="max", early_stopping=True)'
    ),
}


def first_fit(short: bool, threads: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """One epoch on 64 sequences by a process that has fitted nothing, with an empty and a warm cache.

    The names of `skrnn` are loaded before the clock starts, Numba and the kernels are not.
    """
    for label, model in list(FIRST_FITS.items())[: 1 if short else None]:
        code = FIRST_FIT.format(model=model)
        with tempfile.TemporaryDirectory() as cache:
            cold = seconds_inside(code, cache)
            warm = [seconds_inside(code, cache) for _ in range(1 if short else 5)]
        yield {"label": label, "times": {"cold": timing.summary([cold]), "warm": timing.summary(warm)}}


# --- whole jobs -----------------------------------------------------------------------------------
JOBS = {  # script in `benchmarks.whole`, peer whose packages it needs
    "skrnn": ("with_skrnn", None),
    "pytorch": ("with_pytorch", "pytorch"),
    "skorch_net": ("with_skorch", "skorch_net"),
    "keras_layers": ("with_keras", "keras_layers"),
}


def job(script: str, threads: int, cache: str | None = None) -> tuple[float, float]:
    """Seconds of the whole process, pinned to so many cores, and the error that it prints."""
    code = f"{PINNED.format(threads=threads)}import benchmarks.whole.{script}"
    start = time.perf_counter()
    output = run(["-c", code], cache)
    return time.perf_counter() - start, float(output.split()[-1])


def whole(short: bool, threads: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """The scripts of `benchmarks.whole` in turn, ours with a warm cache; then ours with an empty one."""
    if short:
        return
    n, rounds, errors, notes = threads[0], {}, {}, {}
    job("with_skrnn", n)  # warms the cache
    for _ in range(3):
        for name, (script, peer) in JOBS.items():
            if peer and (reason := missing(peer)):
                notes[name] = reason
                continue
            try:
                seconds, errors[name] = job(script, n)
                rounds.setdefault(name, []).append(seconds)
            except subprocess.CalledProcessError as problem:
                notes[name] = problem.stderr.strip().splitlines()[-1]
    with tempfile.TemporaryDirectory() as cache:
        cold = job("with_skrnn", n, cache)[0]
    found = timing.compared(rounds)
    found["times"]["skrnn_cold"] = timing.summary([cold])
    yield {"threads": n, **found, "errors": errors, "notes": notes}

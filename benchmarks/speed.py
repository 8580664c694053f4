"""Training speed beside PyTorch, import time and time to the first fit.

    python -m benchmarks.speed [--threads 1] [--cells rnn lstm gru] [--sizes 16 32 64 128] [--quick]

Prints three tables with their targets and writes them to ``benchmarks/SPEED.md`` (kept as it is
when an option leaves something out). The exit status is 1 when a target is missed. Run it on an
otherwise idle machine; the load average is noted in the file.

An epoch of ours is the difference of neighbouring entries of ``history_["seconds"]`` after a fit's
first epoch: everything that an epoch costs, from the order of the minibatches to the callbacks, and
nothing that a fit does once (validation of X, packing of the weights), as the loop in PyTorch has
its tensors and its optimiser ready too. Both run in one process, turn by turn, so that a change of
clock or load meets both; the ratio compares medians.

PyTorch gets what is fastest for it here: `nn.RNN`, `nn.LSTM` or `nn.GRU` with ``batch_first=True``,
the fused Adam, no loss read back, no gradient for the input.
"""

from __future__ import annotations

import os

# They halve OpenBLAS, which reads them when it is loaded.
os.environ.pop("OPENBLAS_CORETYPE", None)
os.environ.pop("OPENBLAS_L2_SIZE", None)

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numba.core import config

import skrnn

BATCH, T, F = 32, 50, 8
CELLS, SIZES = ("rnn", "lstm", "gru"), (16, 32, 64, 128)
# Minibatches of an epoch: about 50 to 150 ms in either library.
BATCHES = {16: 48, 32: 32, 64: 20, 128: 10}
LEARNING_RATE, MAX_NORM = 5e-3, 1.0

RATIO = 1.0  # at least as fast as PyTorch
IMPORT_SECONDS, COLD_SECONDS, WARM_SECONDS = 0.3, 15.0, 1.0


# --- epochs ---------------------------------------------------------------------------------------
def torch_epoch(cell: str, H: int, X: np.ndarray, y: np.ndarray) -> Callable[[], list[float]]:
    """A function that trains for one epoch and returns its seconds."""
    import torch

    torch.manual_seed(0)
    layer = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    net, head = layer(F, H, batch_first=True), torch.nn.Linear(H, 1)
    params = [*net.parameters(), *head.parameters()]
    adam = torch.optim.Adam(params, lr=LEARNING_RATE, fused=True)
    X, y = torch.from_numpy(X), torch.from_numpy(y)[:, None]

    def epoch() -> list[float]:
        start = time.perf_counter()
        order = torch.randperm(len(X))
        for k in range(0, len(X), BATCH):
            batch = order[k : k + BATCH]
            adam.zero_grad()
            states, _ = net(X[batch])
            loss = torch.nn.functional.mse_loss(head(states[:, -1]), y[batch])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, MAX_NORM)
            adam.step()
        return [time.perf_counter() - start]

    return epoch


def our_epochs(
    cell: str, H: int, X: np.ndarray, y: np.ndarray, threads: int, epochs: int
) -> Callable[[], list[float]]:
    """A function that fits, and returns the seconds of all epochs but the first."""
    classes = {"rnn": skrnn.RNNRegressor, "lstm": skrnn.LSTMRegressor, "gru": skrnn.GRURegressor}
    estimator = classes[cell](
        H, batch_size=BATCH, learning_rate_init=LEARNING_RATE, max_grad_norm=MAX_NORM, alpha=0.0,
        max_iter=1 + epochs, n_iter_no_change=1 + epochs, n_jobs=threads, random_state=0,
    )  # fmt: skip

    def fit() -> list[float]:
        return np.diff(estimator.fit(X, y).history_["seconds"]).tolist()

    return fit


def compare(cell: str, H: int, threads: int, rounds: int, n_batches: int) -> tuple[list[str], bool]:
    """One row of the table, and whether the target is met."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_batches * BATCH, T, F), dtype=np.float32)
    y = rng.standard_normal(len(X), dtype=np.float32)
    theirs, ours = torch_epoch(cell, H, X, y), our_epochs(cell, H, X, y, threads, epochs=2)
    theirs(), ours()  # compile, fill caches
    torch_seconds, our_seconds, ratios = [], [], []
    for k in range(rounds):
        if k % 2:
            b, a = ours(), theirs() + theirs()
        else:
            a, b = theirs() + theirs(), ours()
        torch_seconds += a
        our_seconds += b
        ratios.append(np.mean(a) / np.mean(b))
    a, b = np.median(torch_seconds), np.median(our_seconds)
    row = [
        f"{cell.upper()} {H}",
        f"{1e3 * a / n_batches:.3f}",
        f"{1e3 * b / n_batches:.3f}",
        f"{a / b:.2f}",
        f"{min(ratios):.2f} to {max(ratios):.2f}",
        f">= {RATIO:.2f}",
        "met" if a / b >= RATIO else "missed",
    ]
    return row, a / b >= RATIO


# --- start-up -------------------------------------------------------------------------------------
def seconds_in_new_process(code: str, cache: str | None = None) -> float:
    """Run `code`, which sets `seconds`, in a fresh interpreter."""
    environment = os.environ | ({} if cache is None else {"NUMBA_CACHE_DIR": cache})
    run = subprocess.run(
        [sys.executable, "-c", f"import time; start = time.perf_counter()\n{code}\nprint(seconds)"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(run.stdout.split()[-1])


def import_seconds(rounds: int) -> tuple[list[list[str]], bool]:
    """Rows of the table: what importing adds to scikit-learn and numba, the median of pairs."""
    base = "import sklearn, numba"
    imports = {
        "`import skrnn`": f"{base}, skrnn",
        "`from skrnn import LSTMRegressor`": f"{base}; from skrnn import LSTMRegressor",
        "every public name": f"{base}, skrnn; [getattr(skrnn, name) for name in skrnn.__all__]",
    }
    rows, all_met = [], True
    for label, code in imports.items():
        pairs = []
        for k in range(rounds + 1):
            statements = [base, code] if k % 2 else [code, base]
            times = [
                seconds_in_new_process(f"{statement}\nseconds = time.perf_counter() - start")
                for statement in statements
            ]
            if k > 0:  # the first pair may have to write the bytecode
                pairs.append(times if k % 2 else times[::-1])
        before, after = np.median(pairs, axis=0)
        added = float(np.median(np.diff(pairs, axis=1)))
        is_target = label != "every public name"  # it takes in pandas
        met = added <= IMPORT_SECONDS
        all_met &= met or not is_target
        verdict = ("met" if met else "missed") if is_target else ""
        target = f"<= {IMPORT_SECONDS}" if is_target else ""
        rows.append([label, f"{before:.2f}", f"{after:.2f}", f"{added:.2f}", target, verdict])
    return rows, all_met


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
    "RNNRegressor": "skrnn.RNNRegressor(max_iter=1)",
    "LSTMRegressor": "skrnn.LSTMRegressor(max_iter=1)",
    "GRURegressor": "skrnn.GRURegressor(max_iter=1)",
    "GRURegressor, reset_after=False": "skrnn.GRURegressor(max_iter=1, reset_after=False)",
    "LSTMRegressor, 2 bidirectional layers, dropout, max pooling, early stopping": (
        "skrnn.LSTMRegressor(max_iter=1, num_layers=2, bidirectional=True, dropout=0.2, "
        'recurrent_dropout=0.2, pooling="max", early_stopping=True)'
    ),
}


def first_fits(models: Iterable[str], rounds: int) -> tuple[list[list[str]], bool]:
    """Rows of the table: one epoch on 64 sequences, by a process that has fitted nothing before.

    The names of `skrnn` are loaded before the clock starts, Numba and the kernels are not.
    """
    rows, all_met = [], True
    for label in models:
        code = FIRST_FIT.format(model=FIRST_FITS[label])
        with tempfile.TemporaryDirectory() as cache:
            cold = seconds_in_new_process(code, cache)
            warm = float(np.median([seconds_in_new_process(code, cache) for _ in range(rounds)]))
        met = cold <= COLD_SECONDS and warm <= WARM_SECONDS
        all_met &= met
        targets = f"<= {COLD_SECONDS:g}, <= {WARM_SECONDS:g}"
        rows.append([label, f"{cold:.1f}", f"{warm:.2f}", targets, "met" if met else "missed"])
    return rows, all_met


# --- the report -----------------------------------------------------------------------------------
def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def conditions(threads: int) -> str:
    from skrnn.backends.cpu.simd import machine

    load = f", load average {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    names = ("numpy", "numba", "llvmlite", "scikit-learn", "torch")
    return (
        f"{cpu_name()}, {os.cpu_count()} cores, vectors of {8 * machine().vector_bytes} bits"
        f"{load}; threads: {threads}. Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in names)
        + ". `OPENBLAS_CORETYPE` and `OPENBLAS_L2_SIZE` unset."
    )


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--sizes", nargs="+", type=int, choices=SIZES, default=list(SIZES))
    parser.add_argument("--quick", action="store_true", help="few short rounds: does it run?")
    parser.add_argument("--skip-startup", action="store_true", help="leave out imports, first fits")
    parser.add_argument("--output", type=Path, default=None, help="file to write the tables to")
    options = parser.parse_args()
    if config.BOUNDSCHECK:
        parser.error("unset NUMBA_BOUNDSCHECK: checked kernels are slow")
    import torch

    torch.set_num_threads(options.threads)
    where = conditions(options.threads)
    print(where)

    rounds = 2 if options.quick else 15
    rows, all_met = [], True
    for cell in options.cells:
        for H in options.sizes:
            n_batches = 4 if options.quick else BATCHES[H]
            row, met = compare(cell, H, options.threads, rounds, n_batches)
            print(" | ".join(row), flush=True)
            rows.append(row)
            all_met &= met
    header = ["cell, H", "PyTorch, ms", "skrnn, ms", "times faster", "rounds", "target", ""]
    report = [
        f"# Speed\n\nWritten by `python -m benchmarks.speed --threads {options.threads}`; what is "
        f"measured, and how, is in `speed.py`.\n{where}",
        f"## One minibatch of an epoch\n\nBatch {BATCH}, T={T}, F={F}, float32, squared error on "
        "the last state, gradient clipping, Adam: milliseconds per minibatch,\nthe median epoch "
        f"divided by its minibatches; {rounds} interleaved rounds of two epochs.\n\n"
        + markdown(header, rows),
    ]
    if not options.skip_startup:
        rows, met = import_seconds(1 if options.quick else 9)
        all_met &= met
        header = ["import", "scikit-learn, numba, s", "with it, s", "added, s", "target", ""]
        report.append("## Import\n\n" + markdown(header, rows))
        models = ["LSTMRegressor"] if options.quick else FIRST_FITS
        rows, met = first_fits(models, 1 if options.quick else 5)
        all_met &= met
        header = ["first fit of a process", "empty cache, s", "warm cache, s", "target", ""]
        report.append(
            "## First fit\n\nOne epoch on 64 sequences. Loading Numba counts, importing skrnn and "
            "scikit-learn does not.\n\n" + markdown(header, rows)
        )
    text = "\n\n".join(report) + "\n"
    print("\n" + text)
    output = options.output
    complete = options.cells == list(CELLS) and options.sizes == list(SIZES)
    if output is None and complete and not options.quick and not options.skip_startup:
        output = Path(__file__).with_name("SPEED.md")
    if output is not None:
        output.write_text(text, encoding="utf-8")
        print(f"written to {output}")
    return 0 if all_met else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""Whether this working tree computes the same bits as a commit, on a few hundred random configurations.

    python -m benchmarks.same_bits HEAD
    python -m benchmarks.same_bits HEAD~1 --n 200 --seed 7
    python -m benchmarks.same_bits HEAD --device simulator --simulator-python .venv-cuda/bin/python

Each tree runs all configurations in one process of its own (`benchmarks/bits.py`); what differs is printed,
and the command then exits with 1. An error has to be the same in both; where more than a tenth end in one,
too little has been compared, which is a failure, too. Digests are never stored: initial weights pass through
LAPACK, so that they are those of one machine. Compiled kernels are kept in the folder for temporary files, by
the tree's sources: the first run of a tree compiles for minutes.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from skrnn import backends

HERE = Path(__file__).resolve().parents[1]
Config = dict[str, Any]

CELLS: tuple[tuple[str, Config], ...] = (
    ("RNN", {"activation": "tanh"}),
    ("RNN", {"activation": "relu"}),
    ("RNN", {"activation": "sigmoid"}),
    ("LSTM", {}),
    ("GRU", {"reset_after": True}),
    ("GRU", {"reset_after": False}),
)
REGRESSION = ("squared_error", "absolute_error", "huber", "poisson", "quantile")
CLASSIFICATION = ("binary", "multiclass", "sets")
SOLVERS = ("adam", "adamw", "sgd", "rmsprop")
POOLINGS = ("last", "mean", "max")
DEVICES = {"cpu": "cpu", "simulator": "cuda"}


# --- configurations -------------------------------------------------------------------------------
class Draw:
    """Random choices; sizes are small for the simulator, where each operation is Python's."""

    def __init__(self, seed: int, device: str) -> None:
        self.rng, self.small = np.random.RandomState(seed), device == "cuda"

    def one(self, *options: Any) -> Any:
        return options[self.rng.randint(len(options))]

    def size(self, most: int, small: int) -> int:
        return int(self.rng.randint(1, (small if self.small else most) + 1))

    def maybe(self, share: float) -> bool:
        return bool(self.rng.random_sample() < share)


def configurations(n: int, seed: int, device: str, bfloat16: bool) -> list[Config]:
    """Of the first `n` numbers, always the same for a seed."""
    draw = Draw(seed, device)
    return [(forecaster if draw.maybe(0.2) else estimator)(draw, device, bfloat16) for _ in range(n)]


def estimator(draw: Draw, device: str, bfloat16: bool) -> Config:
    one, maybe = draw.one, draw.maybe
    name, cell = one(*CELLS)
    loss, T, n = one(*REGRESSION, *CLASSIFICATION), draw.size(one(20, 20, 150), 5), 11 + draw.size(29, 1)
    classifier, ragged, per_step, bidirectional = loss in CLASSIFICATION, maybe(0.5), maybe(0.25), maybe(0.35)
    then = one("", "", "partial_fit", "warm_start")
    params = cell | {
        "hidden_size": draw.size(70, 5),
        "num_layers": one(1, 1, 2, 3),
        "bidirectional": bidirectional,
        "pooling": one(*POOLINGS),
        "return_sequences": per_step,
        "dropout": one(0.0, 0.3),
        "recurrent_dropout": one(0.0, 0.0, 0.25),
        "tbptt_steps": None if bidirectional or maybe(0.7) else draw.size(T, T),
        "solver": one(*SOLVERS),
        "momentum": one(0.0, 0.9),
        "nesterovs_momentum": maybe(0.5),
        "alpha": one(0.0, 1e-4, 0.01),
        "learning_rate": one("constant", "cosine", "plateau"),
        "learning_rate_init": one(0.01, 0.1),  # large steps, and below no mere signs of gradients, so that
        "epsilon": one(1e-8, 0.1, 0.1),  # a gradient's last bit is seen in the weights
        "warmup_steps": one(0, 0, 3),
        "max_grad_norm": one(None, 1.0, 0.05),
        "batch_size": one("auto", 1, 5, 8),
        "max_iter": draw.size(4, 2),
        "n_iter_no_change": one(1, 2, 20),
        "tol": one(0.0, 1e-4, 0.1),
        "shuffle": maybe(0.7),
        "early_stopping": maybe(0.25),
        "validation_fraction": 0.4,
        "validation_split": one("random", "last"),
        "dtype": one("float32", "float32", "float64", *(["bfloat16"] if bfloat16 else [])),
        "n_jobs": one(1, 2),
        "random_state": int(draw.rng.randint(1000)),
        "device": device,
    }
    rows = not ragged and maybe(0.2)
    F = draw.size(40, 3)
    data = {
        "seed": int(draw.rng.randint(1000)), "n": n, "T": T, "F": F, "ragged": ragged, "rows": rows,
        "kind": one("float32", "float64"), "loss": loss, "per_step": per_step,
        "k": {"binary": 2, "multiclass": one(3, 4, 5), "sets": one(2, 3)}.get(loss, one(0, 0, 1, 3)),
        "weights": one("none", "none", "per sequence", *(["per step"] if per_step else [])),
    }  # fmt: skip
    if rows:
        params["features_per_step"] = F
    if classifier:
        params["class_weight"] = one(None, None if then == "partial_fit" or loss == "sets" else "balanced")
    else:
        params |= {"loss": loss, "huber_delta": one(0.5, 1.0), "quantiles": one(None, [0.2, 0.6], [0.05])}
        params["linear_skip"] = not (ragged or per_step or params["tbptt_steps"]) and maybe(0.4)
    kind = "Classifier" if classifier else "Regressor"
    return {"estimator": f"{name}{kind}", "params": params, "data": data, "then": then}


def forecaster(draw: Draw, device: str, bfloat16: bool) -> Config:
    one, maybe = draw.one, draw.maybe
    form, lags, recursive = one("series", "wide", "long"), one(None, 3, 8), maybe(0.5)
    exogenous, by_window = form != "series", lags is not None and maybe(0.4)
    params = {
        "h": draw.size(4, 2),
        "lags": lags,
        "strategy": "recursive" if recursive else "direct",
        "linear_skip": maybe(0.5),
        "scaling": one("standard", "robust", "minmax", "mean", None, *(["last"] if by_window else [])),
        "scale_by": "window" if by_window else "series",
        "log1p": maybe(0.25),
        "differences": one(None, None, 1, [1, 4]),
        "calendar": one(None, ["dayofweek"], ["month", "day"]),
        "futr_exog": "known" if exogenous and maybe(0.4) else None,
        "hist_exog": "seen" if exogenous and not recursive and maybe(0.4) else None,
        "stat_exog": "kind" if form == "long" and maybe(0.5) else None,
        "multivariate": form == "wide" and maybe(0.4),
        "level": one(None, 80, [50, 90]),
        "intervals": "conformal" if recursive or maybe(0.5) else "quantile",
        "calibration_windows": 3,
        "loss": one("squared_error", "absolute_error", "huber"),
        "hidden_size": draw.size(40, 4),
        "max_steps": draw.size(20, 2),
        "validation_fraction": 0.2 if lags and maybe(0.3) else None,
        "missing": one("interpolate", "mask"),
        "random_state": int(draw.rng.randint(1000)),
        "device": device,
        "n_jobs": one(1, 2),
    }
    data = {
        "seed": int(draw.rng.randint(1000)), "form": form, "T": 30 + draw.size(50, 1),
        "n_series": draw.size(5, 2), "gaps": maybe(0.3), "more_steps": one(0, 3),
        "folds": 0 if draw.small else one(0, 3),
    }  # fmt: skip
    return {"estimator": f"{one('RNN', 'LSTM', 'GRU')}Forecaster", "params": params, "data": data}


# --- trees ----------------------------------------------------------------------------------------
@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The tree of a commit, in a temporary folder."""
    git = ["git", "-C", str(HERE), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder).resolve() / "base"
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def kernels_of(tree: Path) -> Path:
    """Where the kernels of a tree are kept: by its sources, so that no other tree's are loaded."""
    sources = hashlib.sha256()
    for path in sorted((tree / "skrnn").rglob("*.py")):
        sources.update(str(path.relative_to(tree)).encode() + path.read_bytes())
    top = Path(tempfile.gettempdir()) / f"skrnn-same-bits-{getpass.getuser()}"
    return top / sources.hexdigest()[:16]


def run(tree: Path, configs: list[Config], python: str = sys.executable) -> list[dict[str, str]]:
    """What each configuration computes there, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": str(kernels_of(tree))}
    if any(config["params"]["device"] == "cuda" for config in configs):
        environment["NUMBA_ENABLE_CUDASIM"] = "1"
    process = subprocess.run(
        [python, "-P", str(HERE / "benchmarks" / "bits.py"), str(tree)],
        input=json.dumps(configs), stdout=subprocess.PIPE, text=True, env=environment, check=False,
    )  # fmt: skip
    found = [json.loads(line) for line in process.stdout.splitlines()]
    if process.returncode:
        sys.exit(f"{python} broke off with {process.returncode} on {tree}, after {len(found)} configurations")
    return found


# --- the comparison -------------------------------------------------------------------------------
def differing(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """The parts that differ, in the order in which they were computed."""
    return [part for part in {**ours, **theirs} if ours.get(part) != theirs.get(part)]


def same(configs: list[Config], ours: list[dict[str, str]], theirs: list[dict[str, str]]) -> bool:
    """Print what differs, and how many configurations end in an error."""
    n_differing = 0
    for number, config in enumerate(configs):
        parts = differing(ours[number], theirs[number])
        if parts:
            n_differing += 1
            print(f"{number}: {', '.join(parts)} of {config}")
        if "error" in parts:
            print(*(f"    {side[number].get('error', 'no error')}" for side in (ours, theirs)), sep="\n")
    n_errors = sum("error" in each for each in ours)
    print(f"{n_differing} of {len(configs)} configurations differ; {n_errors} end in an error")
    return n_differing == 0 and n_errors <= len(configs) / 10


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("base", help="the commit to compare with")
    parser.add_argument("--n", type=int, default=300, help="configurations; a tenth of them simulated")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--device", choices=[*DEVICES, "both"], default="cpu")
    parser.add_argument(
        "--simulator-python", default=sys.executable, help="an interpreter that has skrnn's extra cuda"
    )
    given, passed = parser.parse_args(arguments), True
    with checked_out(given.base) as base:
        for device in DEVICES if given.device == "both" else [given.device]:
            bfloat16 = device == "cpu" and backends.get("cpu").supports_bfloat16()
            n = given.n if device == "cpu" else max(1, given.n // 10)  # a simulated one takes seconds
            configs = configurations(n, given.seed, DEVICES[device], bfloat16)
            python, found = sys.executable if device == "cpu" else given.simulator_python, []
            for name, tree in (("this tree", HERE), (given.base, base)):
                start = time.perf_counter()
                found.append(run(tree, configs, python))
                print(f"{device}, {name}: {time.perf_counter() - start:.0f} s", flush=True)
            passed &= same(configs, *found)
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())

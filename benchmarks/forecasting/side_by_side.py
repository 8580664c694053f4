"""M4 weekly beside Nixtla's neuralforecast: one script each, in a process of its own.

Seconds are the whole script, imports and reading the file included, with kernels compiled before. The
installed size is that of the package and all that it needs, without Python; PyTorch comes with CUDA where pip
is not told otherwise. neuralforecast runs on the CPU, once with its defaults and once with our window, size,
batch and number of updates (`alike`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.forecasting import m4_weekly
from benchmarks.forecasting.table import Table

HERE = Path(__file__).parent


def whole(python: str, script: str, train: Path, seed: int, *words: str) -> tuple[pd.DataFrame, float]:
    """The forecast of a script, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "forecast.csv"
        start = time.perf_counter()
        command = [python, str(HERE / script), str(train), str(target), str(m4_weekly.H), str(seed), *words]
        subprocess.run(command, check=True, cwd=folder, capture_output=True)
        return pd.read_csv(target), time.perf_counter() - start


def installed(python: str, name: str) -> str:
    command = [python, str(HERE / "installed.py"), name]
    megabytes, count = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return f"{float(megabytes):.0f} MB, {count} packages"


def run(seeds: list[int]) -> Table:
    table = Table("Beside neuralforecast", __doc__, ["script", "sMAPE", "MASE", "installed", "seconds"])
    train, test = m4_weekly.load()
    scripts = [("skrnn", sys.executable, "with_skrnn.py", "skrnn", ())]
    other = os.environ.get("NEURALFORECAST_PYTHON")
    if other is None:
        table.text += "\n\nNot measured here: NEURALFORECAST_PYTHON names no Python with neuralforecast."
    else:
        theirs = ("with_neuralforecast.py", "neuralforecast")
        scripts += [("neuralforecast LSTM, defaults", other, *theirs, ())]
        scripts += [("neuralforecast LSTM, alike", other, *theirs, ("alike",))]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.csv"
        train.to_csv(file, index=False)
        whole(sys.executable, "with_skrnn.py", file, 0)
        for name, python, script, package, words in scripts:
            found = [whole(python, script, file, seed, *words) for seed in seeds]
            smape, mase = np.mean([m4_weekly.scores(frame, train, test) for frame, _ in found], axis=0)
            seconds = float(np.median([seconds for _, seconds in found]))
            table.add([name, f"{smape:.3f}", f"{mase:.3f}", installed(python, package)], seconds)
    return table

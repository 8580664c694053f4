"""Speed: skrnn beside PyTorch, ONNX Runtime, JAX, Keras, skorch and scikit-learn.

    python -m benchmarks.run                            everything, about 25 minutes
    python -m benchmarks.run --only forward training    some parts; the others stay as they were
    python -m benchmarks.run --short                    two minutes: has anything become slower?

Writes ``results.json``, ``RESULTS.md`` and ``results.png`` into ``results/``, or into ``--output``. A
short run writes only where ``--output`` says, and compares its ratios to PyTorch with those of
``results.json``. The exit status is 1 when a target is missed or, of a short run, when a row became
slower. Use an otherwise idle machine; ``python -m benchmarks.report`` writes the report anew from the
JSON.
"""

from __future__ import annotations

from numba.core import config

from benchmarks import driver, fits, half_width, memory, networks, processes, ragged, report, streaming
from benchmarks.conditions import conditions, usable_cores

PARTS = {  # name: ``part(short, threads) -> rows``
    "forward": networks.forward,
    "training": networks.training,
    "compiled": networks.compiled,
    "epoch": fits.epoch,
    "predict": fits.predict,
    "ragged": ragged.ragged,
    "streaming": streaming.streaming,
    "whole": processes.whole,
    "first_fit": processes.first_fit,
    "imports": processes.imports,
    "memory": memory.memory,
    "half_speed": half_width.speed,
    "half_accuracy": half_width.accuracy,
}


def main() -> int:
    parser = driver.arguments_of(__doc__.partition("\n")[0], PARTS, "few rows, few rounds, few peers")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="of forward and training")
    options = parser.parse_args()
    if config.BOUNDSCHECK:
        parser.error("unset NUMBA_BOUNDSCHECK: checked kernels are slow")
    threads = tuple(n for n in options.threads if n <= usable_cores())
    if threads != tuple(options.threads):
        print(f"only {usable_cores()} core(s) to run on: {threads or 'no'} threads")
    if not threads:
        parser.error("too few cores for that many threads")
    this = driver.Driver("results", options, conditions(), "cpu")
    for part in options.only or PARTS:
        this.measure(part, PARTS[part](options.short, threads))
    if this.folder:
        report.plot(report.stored(this.stored), this.folder / "results.png")
    return this.conclude()


if __name__ == "__main__":
    raise SystemExit(main())

"""Benchmarks: `python -m benchmarks.run` for speed, `python -m benchmarks.gpu` for speed on a GPU,
`python -m benchmarks.accuracy` for accuracy."""

import os

# They halve OpenBLAS, which reads them when it is loaded: before the first import of NumPy.
os.environ.pop("OPENBLAS_CORETYPE", None)
os.environ.pop("OPENBLAS_L2_SIZE", None)

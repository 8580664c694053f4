"""How many threads a fit or a prediction may use."""

from __future__ import annotations

import joblib
from joblib.parallel import get_active_backend
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

from .parameters import as_python


def effective_threads(n_jobs: int | None) -> int:
    """Threads for `n_jobs`.

    None takes what scikit-learn's own threaded estimators would: the processors, within the limits
    of OMP_NUM_THREADS (which joblib sets in its worker processes) and threadpoolctl, and one inside
    of a `joblib.Parallel` that runs threads. A number counts as in joblib: -1 is all processors.

    Raises
    ------
    ValueError
        If it is no number of threads: kernels have room for as many as they are told.
    """
    n_jobs = as_python(n_jobs)
    if n_jobs is not None:
        if not isinstance(n_jobs, int) or isinstance(n_jobs, bool) or n_jobs == 0:
            raise ValueError(f"n_jobs must be None or an integer other than 0, got {n_jobs!r}")
        return joblib.effective_n_jobs(n_jobs) if n_jobs < 0 else n_jobs
    backend, _ = get_active_backend()
    if getattr(backend, "nesting_level", 0):
        return 1
    return _openmp_effective_n_threads()

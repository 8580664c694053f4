"""Set before SciPy is imported, so that scikit-learn's array API check is run and not skipped."""

import os
import sys

os.environ.setdefault("SCIPY_ARRAY_API", "1")

if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
    import threading

    import numpy as np
    from numba.cuda.simulator.kernelapi import FakeCUDAShared
    from numba.np.numpy_support import as_dtype

    # The threads of a simulated block are Python's and wait for one another: five times as fast this way.
    sys.setswitchinterval(1e-4)

    dynamic, lock = FakeCUDAShared.array, threading.Lock()

    def shared_array(self, shape, dtype, alignment=None):
        """An array for each place in a kernel, as before, but the same one for two threads that are the
        first to ask at the same time."""
        if shape == 0:
            return dynamic(self, shape, dtype)
        frame = sys._getframe(1)
        place = frame.f_code, frame.f_lineno
        with lock:
            if place not in self._allocations:
                self._allocations[place] = np.empty(shape, as_dtype(dtype))
            return self._allocations[place]

    FakeCUDAShared.array = shared_array

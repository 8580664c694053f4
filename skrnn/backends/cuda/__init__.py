"""Numba kernels on a GPU's threads; see `skrnn.backends` for what a backend offers.

The only place that imports `numba.cuda`, and CuPy. A network on a GPU lives inside of ``turn(number)``.
"""

from . import arrays as arrays
from . import devices as devices
from .attention import attend, attend_backward
from .dense import Dense
from .directions import add, add_reversed, clear_rows, copy_rows
from .dropout import drop_steps, sequence_mask
from .layers import RecurrentLayer
from .objective import objective
from .pooling import pool_max, pool_max_backward, pool_mean, pool_mean_backward
from .reading import fold, next_step, read, scatter, start_from, unfold, watch
from .tape import Tape
from .updates import Optimizer
from .workspace import Workspace, aligned, to_device, to_host


def supports_bfloat16() -> bool:
    """Products in bfloat16 are the CPU's."""
    return False

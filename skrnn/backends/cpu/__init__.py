"""Numba kernels on SIMD vectors; see `skrnn.backends` for what a backend offers."""

from .attention import attend, attend_backward
from .bfloat16 import available as supports_bfloat16
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

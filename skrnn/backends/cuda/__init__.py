"""Numba kernels on a GPU's threads; see `skrnn.backends` for what a backend offers.

The only place that imports `numba.cuda`, and CuPy. A network on a GPU lives inside of ``turn(number)``.
"""

from . import arrays as arrays
from . import turns as turns
from .attention import attend, attend_backward
from .crf import best_path, chain_marginals, chain_objective
from .cross_attention import attend_mates, attend_mates_backward
from .ctc import path_objective
from .decoding import choose, follow, next_tokens
from .dense import Dense
from .dropout import drop_out, drop_tokens, mask_out, sequence_mask
from .embedding import look_up, look_up_backward, touched_gradient
from .objective import add_losses, objective
from .pooling import pool_max, pool_max_backward, pool_mean, pool_mean_backward
from .reading import first_states, fold, gather, next_minibatch, next_step, scatter, start_from, unfold, watch
from .recurrent import RecurrentLayer
from .rows import add, add_flat, add_reversed, clear_rows, copy_rows, take_mates
from .softmax import Softmax
from .tanh_rows import tanh, tanh_backward
from .tape import Tape
from .updates import Optimizer
from .workspace import Workspace, aligned, to_device, to_host

folding = None  # recurrent layers read all rows


def supports_bfloat16() -> bool:
    """Products in bfloat16 are the CPU's."""
    return False

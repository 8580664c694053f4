"""Where the arithmetic happens. A backend is a module with these names (see `cpu`):

``Workspace(dtype, n_threads)``
    Buffers of one fit or prediction; all arrays below are flat and live where the backend computes.
``RecurrentLayer(cell, n_in, n_hidden, dtype, ...)``, ``Dense(n_in, n_out, dtype)``
    ``size``, ``bias_from`` (parameters from there on are biases), ``pack``, ``unpack``, ``forward``,
    ``backward``.
``gather``, ``join``, ``spread``, ``reverse``, ``add_reversed``, ``pool``, ``pool_backward``,
``sequence_mask``, ``drop_steps``
    Functions on packed rows (module `packed`).
``Optimizer``
    The step over the flat parameter vector.
"""

from __future__ import annotations

from types import ModuleType


def get(device: str) -> ModuleType:
    """The backend for a device; imported when first asked for."""
    if device != "cpu":
        raise ValueError(f"device={device!r} is not available: this version computes on 'cpu'")
    from . import cpu

    return cpu

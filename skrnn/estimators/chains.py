"""What ``loss="crf"`` asks for: the labels of a sequence's steps, all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.utils._param_validation import InvalidParameterError

from .inputs import Input
from .targets import place


def check_chain_parameters(estimator: Any) -> None:
    """Raise an InvalidParameterError for parameters that are not for chains of labels."""
    if not estimator.return_sequences:
        raise InvalidParameterError(
            'loss="crf" needs return_sequences=True: it weighs the labels of all steps of a sequence together'
        )
    for name, why in (
        ("tbptt_steps", "the labels of a whole sequence hang together, which a chunk does not hold"),
        ("class_weight", "a CRF weighs whole sequences, not labels: see sample_weight"),
    ):
        if getattr(estimator, name) is not None:
            raise InvalidParameterError(f'{name} cannot be combined with loss="crf": {why}')


def check_chain_weights(w: np.ndarray | None, input: Input) -> None:
    """Raise a ValueError where weights of steps (m,) of one sequence are positive and differ."""
    if w is None:
        return
    lengths, starts = input.sequences.lengths, input.sequences.offsets[:-1]
    of_sequence = np.repeat(np.maximum.reduceat(w, starts), lengths)
    other = (w > 0) & (w != of_sequence)
    if other.any():
        row = int(other.argmax())
        raise ValueError(
            f"{place(row, input, True, 'sample_weight')} differs from that of another step, but a CRF weighs "
            "whole sequences: the weights of a sequence's steps are equal, or 0 where a step is not labelled"
        )


def labels_in_order(
    weights: Mapping[str, np.ndarray], names: Iterable[str], order: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Weights, of which those `names` have a row for each label, and the transitions a column, in this
    order."""
    ordered = dict(weights)
    if order is None:
        return ordered
    for name in names:
        if name in ordered and len(ordered[name]) == len(order):  # others are found to have a wrong shape
            ordered[name] = ordered[name][order]
            if name == "crf.transitions" and ordered[name].shape[1] == len(order):
                ordered[name] = ordered[name][:, order]
    return ordered

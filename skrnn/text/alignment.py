"""A picture of what a translator looks at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class AlignmentDisplay:
    """The weights of attention as a heat map: a row for each token of the translation, a column for each of
    the source (Bahdanau et al. 2015, figure 3).

    Use `from_estimator` to make one.

    Parameters
    ----------
    weights : array-like of shape (n_target_tokens, n_source_tokens)
        Of which each row adds up to 1.
    source, target : sequence of str
        The tokens.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage

    Examples
    --------
    >>> from skrnn.text import AlignmentDisplay
    >>> AlignmentDisplay.from_estimator(model, "le chat dort").figure_.savefig("it.png")  # doctest: +SKIP
    """

    def __init__(self, *, weights: Any, source: Sequence[str], target: Sequence[str]) -> None:
        self.weights = weights
        self.source = source
        self.target = target

    @classmethod
    def from_estimator(
        cls, translator: Any, x: Any, y: Any = None, *, ax: Axes | None = None, **kwargs: Any
    ) -> AlignmentDisplay:
        """Plot what a translator looks at.

        Parameters
        ----------
        translator : translator
            Fitted, with `attention`.
        x : str, or list of tokens
            One text.
        y : str, or list of tokens, default=None
            Its translation; None: the one that is found.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            For `plot`.

        Returns
        -------
        AlignmentDisplay

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As of the translator's `attention_weights`.
        ImportError
            If matplotlib is not installed.
        """
        check_is_fitted(translator)
        ((source, target, weights),) = translator._aligned([x], None if y is None else [y])
        theirs, own = translator.source_encoder_.get_feature_names_out(), translator._vocabulary.names()
        read, written = [theirs[token] for token in source], [own[token] for token in target]
        return cls(weights=weights, source=read, target=written).plot(ax=ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> AlignmentDisplay:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            For matplotlib's `imshow`, for instance ``cmap="viridis"``.

        Returns
        -------
        AlignmentDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError('AlignmentDisplay needs matplotlib: pip install "skrnn[plot]"') from error
        if ax is None:
            size = [1.5 + 0.4 * max(4, len(tokens)) for tokens in (self.source, self.target)]
            _, ax = plt.subplots(figsize=tuple(size), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        style: dict[str, Any] = {"cmap": "gray", "vmin": 0.0, "vmax": 1.0, "aspect": "equal"} | kwargs
        self.image_ = ax.imshow(np.asarray(self.weights), **style)
        ax.set_xticks(np.arange(len(self.source)), [str(token) for token in self.source], rotation=90)
        ax.set_yticks(np.arange(len(self.target)), [str(token) for token in self.target])
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        return self

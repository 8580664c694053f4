"""Plots in the style of scikit-learn's displays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LossCurveDisplay:
    """Training loss per epoch and, where there is one, the validation score on a second axis.

    Use `from_estimator` to make one.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Training loss of each epoch.
    validation_scores : array-like of shape (n_epochs,), default=None
        Validation score of each epoch; NaN where none was computed.
    validation_name : str, default="Validation score"
        What the second axis is called.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the loss.
    validation_ax_ : matplotlib Axes or None
        Their twin for the validation score.
    figure_ : matplotlib Figure
        The figure of both.
    lines_ : list of matplotlib Line2D
        The loss and, where there is one, the validation score.

    Examples
    --------
    >>> from skrnn import LossCurveDisplay
    >>> display = LossCurveDisplay(loss_curve=[0.9, 0.4, 0.2]).plot()  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        loss_curve: Any,
        validation_scores: Any = None,
        validation_name: str = "Validation score",
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores
        self.validation_name = validation_name

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Axes | None = None, **kwargs: Any) -> LossCurveDisplay:
        """Plot the history of a fitted estimator, or of the last step of a fitted pipeline.

        Parameters
        ----------
        estimator : estimator or Pipeline
            Has `loss_curve_` and `history_`.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            For `plot`.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        check_is_fitted(estimator)
        estimator = getattr(estimator, "steps", [(None, estimator)])[-1][1]
        scores = estimator.history_["validation_score"]  # NaN for an epoch without
        display = cls(
            loss_curve=estimator.loss_curve_,
            validation_scores=None if np.isnan(scores).all() else scores,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        loss_kwargs: dict[str, Any] | None = None,
        validation_kwargs: dict[str, Any] | None = None,
    ) -> LossCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        loss_kwargs, validation_kwargs : dict, default=None
            For matplotlib's `plot` of either line, for instance ``{"color": "black"}``.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError('LossCurveDisplay needs matplotlib: pip install "skrnn[plot]"') from error
        if ax is None:
            _, ax = plt.subplots()
        self.ax_, self.validation_ax_, self.figure_ = ax, None, ax.figure
        epochs = np.arange(1, len(self.loss_curve) + 1)
        style = {"color": "C0", "label": "Training loss"} | (loss_kwargs or {})
        self.lines_ = ax.plot(epochs, self.loss_curve, **style)
        ax.set(xlabel="Epoch", ylabel="Training loss")
        ax.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        if self.validation_scores is not None:
            self.validation_ax_ = ax.twinx()
            style = {"color": "C1", "label": self.validation_name} | (validation_kwargs or {})
            epochs = np.arange(1, len(self.validation_scores) + 1)
            self.lines_ += self.validation_ax_.plot(epochs, self.validation_scores, **style)
            self.validation_ax_.set_ylabel(self.validation_name)
            ax.legend(handles=self.lines_)
        return self

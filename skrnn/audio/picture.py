"""A picture of a recording and of what is said in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .transcribing import AlignedLabel


class TranscriptDisplay:
    """The frames of a recording as a heat map, time from left to right, and its labels where they are said.

    Use `from_estimator` to make one.

    Parameters
    ----------
    frames : array-like of shape (n_frames, n_features)
        Of log mel spectra, low frequencies are drawn below.
    spoken : sequence of (label, first_frame, last_frame, start, end)
        As of `predict_alignment`.
    frame_step : float or None, default=None
        Seconds from one frame to the next; None: the axis counts frames.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage
    texts_ : list of matplotlib Text
        The labels.

    Examples
    --------
    >>> from skrnn.audio import TranscriptDisplay
    >>> TranscriptDisplay.from_estimator(model, "a.wav").figure_.savefig("a.png")  # doctest: +SKIP
    """

    def __init__(
        self, *, frames: Any, spoken: Sequence[AlignedLabel], frame_step: float | None = None
    ) -> None:
        self.frames = frames
        self.spoken = spoken
        self.frame_step = frame_step

    @classmethod
    def from_estimator(
        cls, transcriber: Any, x: Any, y: Any = None, *, ax: Axes | None = None, **kwargs: Any
    ) -> TranscriptDisplay:
        """Plot a recording and what a transcriber finds in it.

        Parameters
        ----------
        transcriber : transcriber
            Fitted.
        x : recording
            One, as of the transcriber's `fit`.
        y : str, or list of labels, default=None
            What is said; None: what is found.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            For `plot`.

        Returns
        -------
        TranscriptDisplay

        Raises
        ------
        NotFittedError, TypeError, ValueError, OSError
            As of the transcriber's `predict_alignment`.
        ImportError
            If matplotlib is not installed.
        """
        check_is_fitted(transcriber)
        (spoken,) = transcriber.predict_alignment([x], None if y is None else [y])
        (frames,) = transcriber._frames(transcriber._recordings([x]))
        step = getattr(transcriber.features_, "seconds_per_frame", None)
        return cls(frames=frames, spoken=spoken, frame_step=step).plot(ax=ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> TranscriptDisplay:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            For matplotlib's `imshow`, for instance ``cmap="magma"``.

        Returns
        -------
        TranscriptDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError('TranscriptDisplay needs matplotlib: pip install "skrnn[plot]"') from error
        frames, step = np.asarray(self.frames), 1.0 if self.frame_step is None else self.frame_step
        if ax is None:
            _, ax = plt.subplots(figsize=(min(16.0, 3 + len(frames) / 40), 3.2), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        end, n = len(frames) * step, frames.shape[1]
        style: dict[str, Any] = {
            "cmap": "gray_r", "origin": "lower", "aspect": "auto", "extent": (0.0, end, -0.5, n - 0.5),
        }  # fmt: skip
        self.image_ = ax.imshow(frames.T, **style | kwargs)
        self.texts_ = []
        for label, first_frame, last_frame, *_ in self.spoken:
            first, last = first_frame * step, (last_frame + 1) * step
            ax.axvspan(first, last, color="tab:orange", alpha=0.35, linewidth=0)
            place = (first + last) / 2, 1.02
            self.texts_.append(
                ax.text(*place, str(label), transform=ax.get_xaxis_transform(), ha="center", va="bottom")
            )
        ax.set_xlabel("frame" if self.frame_step is None else "seconds")
        ax.set_ylabel("feature")
        return self

"""What a transcriber makes of recordings."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..estimators.devices import to_host
from ..estimators.fitted import Fitted
from ..estimators.n_jobs import effective_threads
from ..estimators.parameters import as_python, check_count
from ..labelling import BestPath, Found, align, log_softmax, search, steps_needed
from ..sequences import object_array
from ..text.corpus import Vocabulary, checked, named
from ..training import Data
from .files import items_of
from .live import LiveTranscript
from .metrics import label_error_rate


class Transcription(NamedTuple):
    """One of the best.

    Attributes
    ----------
    text : str, or list of labels
    log_prob : float
        In nats; of all paths that the search has kept, so that the exact value may be a little higher.
    """

    text: Any
    log_prob: float


class AlignedLabel(NamedTuple):
    """A label, and where it is said.

    Attributes
    ----------
    label : str
    first_frame, last_frame : int
        Numbered from 0.
    start, end : float
        Seconds from the beginning of the recording to that of the first frame, and to where the frame after
        the last begins; NaN where `features` does not say how long a step is.
    """

    label: Any
    first_frame: int
    last_frame: int
    start: float
    end: float


class Transcribes(Fitted):
    """Mixin of transcribers."""

    label_encoder_: Any
    features_: Any
    beam_size: Any
    bidirectional: Any
    n_jobs: Any
    n_features_in_: Any
    _stacked: int  # frames of a step

    @property
    @abstractmethod
    def _vocabulary(self) -> Vocabulary: ...

    @abstractmethod
    def _recordings(self, items: list[Any], name: str = "X") -> list[Any]: ...

    @abstractmethod
    def _frames(self, recordings: list[Any], name: str = "X") -> list[np.ndarray]: ...

    @abstractmethod
    def _steps(self, frames: list[np.ndarray], name: str = "X") -> list[np.ndarray]: ...

    @abstractmethod
    def _of_steps(self, steps: list[np.ndarray], labels: list[np.ndarray]) -> Data: ...

    # --- transcripts -----------------------------------------------------------------------------------
    def predict(self, X: Any) -> np.ndarray:
        """What is said: the most probable labels that a search of `beam_size` finds.

        Parameters
        ----------
        X : list of n recordings
            As in `fit`.

        Returns
        -------
        ndarray of shape (n,), dtype object
            Texts, or lists of labels, as y was; empty where nothing is said. A recording has the same
            transcript, to the bit, alone and among others.

        Raises
        ------
        TypeError, ValueError, OSError
            For a recording that is none or cannot be read, which is named.
        """
        check_is_fitted(self)
        return object_array(self._vocabulary.in_words(self._best(self._scores(X)[0])))

    def _best(self, scores: list[np.ndarray]) -> list[np.ndarray]:
        """The best labels of each recording."""
        width = int(as_python(self.beam_size))
        if width == 1:
            return [BestPath().read(own)[0] for own in scores]
        return [search(log_softmax(own), width)[0].labels for own in scores]

    def predict_n_best(self, X: Any, n: int = 5) -> list[list[Transcription]]:
        """The most probable transcripts of each recording.

        Parameters
        ----------
        X : list of n recordings
            As in `fit`.
        n : int, default=5
            How many of each; of those that a search of `beam_size`, or of n if that is more, finds.

        Returns
        -------
        list of n_recordings lists of (text, log_prob)
            Best first; fewer than n where there are not so many.

        Raises
        ------
        TypeError, ValueError, OSError
            As of `predict`; if n is below 1.
        """
        check_is_fitted(self)
        check_count("n", n)
        width = max(int(as_python(self.beam_size)), n)
        every: list[list[Found]] = [search(log_softmax(own), width)[:n] for own in self._scores(X)[0]]
        words = iter(self._vocabulary.in_words([one.labels for own in every for one in own]))
        return [[Transcription(next(words), one.log_prob) for one in own] for own in every]

    def predict_alignment(self, X: Any, y: Any = None) -> list[list[AlignedLabel]]:
        """Where each label is said: on the most probable path that says them all (Viterbi 1967).

        Networks that are trained by CTC say a label in few frames, often near its end, and nothing in
        between.

        Parameters
        ----------
        X : list of n recordings
            As in `fit`.
        y : list of n texts or lists of labels, default=None
            What is said; None: what `predict` finds.

        Returns
        -------
        list of n lists of (label, first_frame, last_frame, start, end)
            With ``stack_frames=k``, `first_frame` is a multiple of k. ``pandas.DataFrame(lists[0])`` is a
            table.

        Raises
        ------
        TypeError, ValueError, OSError
            As of `predict`; if y does not fit to X, or a recording has too few frames for its labels, or
            labels that `fit` has not seen.
        """
        check_is_fitted(self)
        parts, n_frames = self._scores(X)
        labels = self._best(parts) if y is None else self._labels(y, len(parts))
        names, k = self._vocabulary.names(), self._stacked
        seconds = getattr(self.features_, "seconds_per_frame", np.nan)
        found = []
        for i, (scores, said) in enumerate(zip(parts, labels, strict=True)):
            if (reason := self._why_not(i, said, len(scores), n_frames[i])) is not None:
                raise ValueError(reason)
            first, last = align(log_softmax(scores), said)
            ends = np.minimum((last + 1) * k, n_frames[i]) - 1
            found.append(
                [
                    AlignedLabel(
                        names[label], int(a) * k, int(b), float(a * k * seconds), float((b + 1) * seconds)
                    )
                    for label, a, b in zip(said, first, ends, strict=True)
                ]
            )
        return found

    # --- how probable they are, and how good -------------------------------------------------------------
    def log_prob(self, X: Any, y: Any) -> np.ndarray:
        """Log-likelihoods of transcripts, in nats.

        Parameters
        ----------
        X, y : like in `fit`

        Returns
        -------
        ndarray of shape (n,)
            Of all paths that say exactly the labels; minus infinity where there is none, as a recording has
            too few frames or `fit` has not seen a label.

        Raises
        ------
        TypeError, ValueError, OSError
            As of `fit`.
        """
        check_is_fitted(self)
        steps, n_frames = self._read(X)
        labels = self._labels(y, len(steps))
        found = np.full(len(steps), -np.inf)
        possible = [
            i
            for i, (own, said) in enumerate(zip(steps, labels, strict=True))
            if self._why_not(i, said, len(own), n_frames[i]) is None
        ]
        if possible:
            data = self._of_steps([steps[i] for i in possible], [labels[i] for i in possible])
            found[possible] = self._run(data, log_prob=data.y)[:, 0]
        return found

    def score(self, X: Any, y: Any) -> float:
        """1 - label error rate: of characters, words or labels, as `label_encoder` says.

        Parameters
        ----------
        X, y : like in `fit`

        Returns
        -------
        float
            1 at best, below 0 where there are more errors than labels. Labels that `fit` has not seen are
            errors.

        Raises
        ------
        TypeError, ValueError, OSError
            As of `fit`; if y has no labels at all.
        """
        check_is_fitted(self)
        scores, _ = self._scores(X)
        return 1 - label_error_rate(self._labels(y, len(scores)), self._best(scores))

    # --- as it comes ---------------------------------------------------------------------------------------
    def stream(self) -> LiveTranscript:
        """A transcript of a recording as it arrives, of a model with ``bidirectional=False``.

        Returns
        -------
        LiveTranscript
            Its ``push`` takes the next samples, or frames where X are frames, and returns the new labels.

        Raises
        ------
        ValueError
            With ``bidirectional=True``; if `features` cannot be computed as samples arrive.

        Examples
        --------
        >>> import numpy as np
        >>> from skrnn.audio import GRUTranscriber
        >>> X = [np.eye(3)[[0, 0, 1, 1, 0]], np.eye(3)[[0, 2, 2, 0, 1, 0]]]
        >>> model = GRUTranscriber(16, num_layers=1, bidirectional=False, time_masks=0, feature_masks=0,
        ...                        max_iter=100, random_state=0).fit(X * 4, ["a", "ba"] * 4)
        >>> live = model.stream()
        >>> [label for frame in X[1] for label in live.push(frame[None])]
        ['b', 'a']
        >>> live.text
        'ba'
        """
        check_is_fitted(self)
        return LiveTranscript(self)

    # --- the network -----------------------------------------------------------------------------------
    def _read(self, X: Any) -> tuple[list[np.ndarray], list[int]]:
        """Steps as the network reads them, and how many frames there were."""
        frames = self._frames(self._recordings(items_of(X, "X")))
        return self._steps(frames), [len(own) for own in frames]

    def _why_not(self, i: int, labels: np.ndarray, n_steps: int, n_frames: int) -> str | None:
        """Why recording i cannot say these labels, of which 0, the blank, is an unknown one."""
        if (labels == 0).any():
            return f"y[{i}] has a label that label_encoder_ does not know"
        needed = steps_needed(labels)
        if n_steps >= needed:
            return None
        steps = f", {n_steps} steps with stack_frames={self._stacked}" if self._stacked > 1 else ""
        return (
            f"X[{i}] has {n_frames} frames{steps}, but the {len(labels)} labels of y[{i}] need {needed}: one "
            "for each, and one between two that are the same"
        )

    def _labels(self, y: Any, n: int) -> list[np.ndarray]:
        texts = checked(y, "y")
        if len(texts) != n:
            raise ValueError(f"X has {n} recordings and y {len(texts)} items")
        with named("y"):
            return list(self.label_encoder_.transform(texts))

    def _scores(self, X: Any) -> tuple[list[np.ndarray], list[int]]:
        """Of the labels at each step."""
        steps, n_frames = self._read(X)
        data = self._of_steps(steps, [np.zeros(0, np.int32)] * len(steps))
        scores = data.sequences.split(self._run(data))
        for i, own in enumerate(scores):
            if not np.isfinite(own).all():
                raise ValueError(f"the scores of X[{i}] are not finite")
        return scores, n_frames

    def _run(self, data: Data, **what: Any) -> np.ndarray:
        with self._turn() as device:
            threads = partial(effective_threads, self.n_jobs)
            return to_host(self._predictor(device).run(data.sequences, threads, **what)[0])

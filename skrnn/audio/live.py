"""A transcript of a recording as it arrives."""

from __future__ import annotations

from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from ..estimators.devices import in_turn
from ..inference import Stepper
from ..labelling import BestPath
from .frames import frames_of

if TYPE_CHECKING:
    from .transcribing import Transcribes


class LiveTranscript:
    """What is said in a recording, as far as it has been heard; made by ``transcriber.stream()``.

    It is the most probable label of each step: what `predict` with ``beam_size=1`` says of the recording as
    heard so far, but for frames that wait for others to be stacked with. It can be pickled and copied; a copy
    goes on by itself, and a later fit of the transcriber does not change it.

    Attributes
    ----------
    text : str, or list of labels
        All of it so far.
    """

    def __init__(self, transcriber: Transcribes) -> None:
        if transcriber._architecture["bidirectional"]:
            raise ValueError("bidirectional=True: the network reads recordings from their end, too")
        features = transcriber.features_
        if features is not None and not hasattr(features, "stream"):
            raise ValueError(f"features={features} cannot be computed as samples arrive: it has no `stream`")
        self._transcriber = copy(transcriber)  # which stays as it is, whatever is fitted later
        self._features = None if features is None else features.stream()
        self._open()
        self.reset()

    def _open(self) -> None:
        with self._transcriber._turn() as device:
            predictor = self._transcriber._predictor(device)
            self._stepper = Stepper(predictor.network, predictor.params, 1)
        self._advance = in_turn(device, self._transcriber.allow_tf32, self._stepper.advance)

    def reset(self) -> None:
        """Begin a new recording."""
        self._path, self._labels = BestPath(), list[np.ndarray]()
        self._waiting = np.empty((0, self._transcriber.n_features_in_))
        self._stepper.reset()
        if self._features is not None:
            self._features.reset()

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name not in ("_stepper", "_advance")}
        return state | {"state": self._stepper.state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        before = state.pop("state")
        self.__dict__.update(state)
        self._open()
        self._stepper.reset(before)

    def __copy__(self) -> LiveTranscript:
        return deepcopy(self)

    def push(self, chunk: Any) -> list[Any]:
        """Hear more.

        Parameters
        ----------
        chunk : array-like of shape (n_samples,), or (n_frames, n_features) where X are frames
            As much as there is.

        Returns
        -------
        list
            The labels that begin in it: characters, words, or labels, as `fit` has learnt them.

        Raises
        ------
        ValueError
            If it is no chunk, or holds anything but finite numbers; the transcript is then what it was.
        """
        owner, n = self._transcriber, self._transcriber._stacked
        if self._features is not None:
            frames = self._features.push(chunk)
        else:
            frames = np.asarray(chunk)
            if frames.ndim != 2 or frames.shape[1] != owner.n_features_in_:
                raise ValueError(
                    f"chunk must be of shape (n_frames, {owner.n_features_in_}), got {frames.shape}"
                )
            if len(frames):
                (frames,) = frames_of([frames], "chunk", owner.n_features_in_)
        frames = np.concatenate([self._waiting, frames])
        ready = len(frames) // n * n
        (steps,) = owner._steps([frames[:ready]], "chunk") if ready else [frames[:0]]
        self._waiting = frames[ready:]
        if not ready:
            return []
        scores = np.empty((len(steps), self._stepper.out.shape[1]))
        for t, step in enumerate(steps):
            self._stepper.x[0] = step
            self._advance()
            scores[t] = self._stepper.out[0]
        labels, _ = self._path.read(scores)
        self._labels.append(labels)
        names = owner._vocabulary.names()
        return [names[label] for label in labels]

    @property
    def text(self) -> Any:
        (text,) = self._transcriber._vocabulary.in_words(
            [np.concatenate([np.zeros(0, np.int32), *self._labels])]
        )
        return text

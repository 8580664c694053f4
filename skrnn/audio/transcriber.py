"""What all transcribers share: what they read of recordings and labels, and how they learn from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.callback import with_callbacks
from sklearn.utils import Tags

from ..estimators.n_jobs import effective_threads
from ..estimators.parameters import as_python
from ..labelling import BestPath, steps_needed
from ..network import Network
from ..recipe import array_dtype, transcription_network
from ..sequences import Sequences, Targets
from ..text.corpus import checked, named
from ..text.pairs import LearnsPairs, Pairs
from ..training import Data, Trainer
from .features import LogMelSpectrogram
from .files import change_speed, is_signal, items_of, recordings_of
from .frames import checked_speeds, faster, frames_of, stacked
from .metrics import edit_distance
from .transcribing import Transcribes

FROZEN = "hidden_size", "num_layers", "bidirectional", "dropout", "recurrent_dropout", "dtype"
MASKS = "time_masks", "time_mask_share", "feature_masks", "feature_mask_share"
LEAST_DEVIATION = 1e-6  # of a feature that varies, by its largest value


class Transcriber(LearnsPairs, Transcribes):
    """Parameters, validation and fit."""

    features: Any
    label_encoder: Any
    stack_frames: Any
    speeds: Any
    time_masks: Any
    time_mask_share: Any
    feature_masks: Any
    feature_mask_share: Any
    n_jobs: Any

    # --- fit -----------------------------------------------------------------------------------------
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Learn from recordings and what is said in them, without knowing where.

        Parameters
        ----------
        X : list of n recordings
            Paths of audio files, or signals of shape (n_samples,); or, as `features` says, frames of shape
            (n_frames, n_features).
        y : list of n texts, or of n lists of labels
            What each of them says, which may be nothing.
        X_val, y_val : like X and y, default=None
            Validation data, instead of a part of X and y with `early_stopping`.

        Returns
        -------
        self : estimator

        Raises
        ------
        TypeError, ValueError, OSError
            For recordings that are none or cannot be read, or that have fewer frames than their labels need;
            for labels that are none; all are named. If there are not as many of y as of X; for unusable
            parameters; when the loss stops being finite. The estimator is then what it was before.
        KeyboardInterrupt
            On Ctrl-C. In training, after the running minibatch and with a warning: the estimator is fitted
            then, with the best weights so far. Before it, the estimator is what it was.
        RuntimeError
            If `device` cannot be used here.
        MemoryError
            If the GPU has too little memory.
        """
        return self._fit_pairs(X, y, X_val, y_val)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any) -> Self:
        """One pass over recordings, and on from what was learnt before, for recordings that do not fit into
        memory.

        The first call learns the labels, unless `label_encoder` is fitted already, and the scale of the
        features: it should have all kinds of them. All calls take the rate `learning_rate_init`.

        Parameters
        ----------
        X, y : like in `fit`

        Returns
        -------
        self : estimator

        Raises
        ------
        TypeError, ValueError, OSError
            As of `fit`; for labels that the first call has not seen.
        """
        return self._pass_over_pairs(X, y)

    # --- data ------------------------------------------------------------------------------------------
    def _read_pairs(self, X: Any, y: Any, again: bool) -> Pairs:
        """Signals or frames, and labels; learns what a label is, and what makes frames, unless training goes
        on."""
        checked_speeds(self.speeds)  # before files are read
        items, texts = items_of(X, "X"), checked(y, "y")
        if not again:
            encoder = self.label_encoder
            if encoder == "auto":
                encoder = "char" if texts and isinstance(texts[0], str) else "tokens"
            with named("y"):
                self.label_encoder_ = self._fitted_encoder(encoder, texts)
            self._tidies = encoder == "word"
            self._n_known, self._unread = len(self.label_encoder_.get_feature_names_out()) - 1, {}
            features = self.features
            if features == "auto":
                features = LogMelSpectrogram() if is_signal(items[0]) else None
            self.features_ = None if features is None else clone(features)
            self.n_features_in_ = None
        self._stacked, self._frame_dtype = int(as_python(self.stack_frames)), array_dtype(self.dtype)
        recordings, labels = self._pairs_of(items, texts)
        if self.features_ is not None and not again:
            self.features_.fit(recordings)
        return recordings, labels

    def _pairs_of(self, items: list[Any], texts: list[Any], name: str = "X", y_name: str = "y") -> Pairs:
        if len(items) != len(texts):
            raise ValueError(f"{name} has {len(items)} recordings and {y_name} {len(texts)} items")
        with named(y_name):
            labels = list(self.label_encoder_.transform(texts))
        return self._recordings(items, name), labels

    def _validation_pairs(self, X: Any, y: Any) -> Pairs:
        return self._pairs_of(items_of(X, "X_val"), checked(y, "y_val"), "X_val", "y_val")

    def _recordings(self, items: list[Any], name: str = "X") -> list[Any]:
        """Signals, or frames where nothing makes frames of signals."""
        if self.features_ is None:
            return frames_of(items, name, self.n_features_in_)
        rate = getattr(self.features_, "sample_rate", None)
        return items if rate is None else recordings_of(items, rate, name)

    def _frames(self, recordings: list[Any], name: str = "X") -> list[np.ndarray]:
        if self.features_ is None:
            return recordings
        found = self.features_.transform(recordings)
        if not hasattr(found, "__len__") or len(found) != len(recordings):
            raise ValueError(f"features={self.features_} does not make frames of each of {name}")
        return frames_of(list(found), f"frames of {name}", self.n_features_in_)

    def _training_data(self, pairs: Pairs, numbers: np.ndarray | None = None) -> Data:
        recordings, said_of = pairs
        labels = list(said_of)
        frames = self._frames(recordings)
        if self.n_features_in_ is None:
            self._learn_scale(frames)
        steps = self._steps(frames)
        for i, (own, said) in enumerate(zip(steps, said_of, strict=True)):
            number = i if numbers is None else int(numbers[i])
            if (reason := self._why_not(number, said, len(own), len(frames[i]))) is not None:
                raise ValueError(reason)
        for speed in checked_speeds(self.speeds):
            if self.features_ is None:
                changed = [faster(own, speed) for own in recordings]
            else:
                if not isinstance(recordings[0], np.ndarray):
                    raise ValueError(
                        "speeds need signals, or `features` with a sample_rate, which reads paths"
                    )
                changed = self._frames([change_speed(own, speed) for own in recordings])
            for own, said in zip(self._steps(changed), said_of, strict=True):
                if len(own) >= steps_needed(said):
                    steps.append(own)
                    labels.append(said)
        return self._of_steps(steps, labels)

    def _learn_scale(self, frames: list[np.ndarray]) -> None:
        """The mean and the deviation of each feature; 1 of those that are constant."""
        n, largest = sum(map(len, frames)), np.max([np.abs(own).max(axis=0) for own in frames], axis=0)
        unit = np.where(largest > 0, largest, 1.0).astype(np.float64)
        mean = sum((own / unit).sum(axis=0) for own in frames) / n
        deviation = np.sqrt(sum(((own / unit - mean) ** 2).sum(axis=0) for own in frames) / n)
        self.n_features_in_, self.feature_means_ = frames[0].shape[1], mean * unit
        self.feature_deviations_ = np.where(deviation > LEAST_DEVIATION, deviation * unit, 1.0)

    def _steps(self, frames: list[np.ndarray], name: str = "X") -> list[np.ndarray]:
        """As the network reads them: scaled by what `fit` has seen, whatever `features` did, and stacked."""
        found = []
        for i, own in enumerate(frames):
            with np.errstate(over="ignore"):
                scaled = ((own - self.feature_means_) / self.feature_deviations_).astype(self._frame_dtype)
            if not np.isfinite(scaled).all():
                raise ValueError(
                    f"{name}[{i}] is too large: {scaled.dtype} does not hold it, by the scale of fit"
                )
            found.append(stacked(scaled, self._stacked))
        return found

    def _of_steps(self, steps: list[np.ndarray], labels: list[np.ndarray]) -> Data:
        return Data(Sequences.from_arrays(steps, self._frame_dtype), Targets.of_tokens(labels), None)

    def _data(self, recordings: list[Any], labels: list[np.ndarray]) -> Data:
        return self._of_steps(self._steps(self._frames(recordings)), labels)

    def _scorer(self, trainer: Trainer, data: Data) -> Callable[[], float]:
        """1 - label error rate of the best paths."""
        right = [labels.tolist() for labels in data.y.texts()]
        n_labels = max(1, sum(map(len, right)))

        def score() -> float:
            parts = data.sequences.split(trainer.predict(data.sequences))
            found = [BestPath().read(scores)[0].tolist() for scores in parts]
            return 1 - sum(map(edit_distance, right, found)) / n_labels

        return score

    # --- the network -----------------------------------------------------------------------------------
    @property
    def _writes_by(self) -> Any:
        return self.label_encoder_

    @property
    def _n_tokens(self) -> int:
        return self._n_known + 1

    def _network_parameters(self) -> dict[str, Any]:
        p = {name: as_python(getattr(self, name)) for name in (*MASKS, "dropout")}
        return self._frozen(*FROZEN) | {
            "n_in": self.n_features_in_ * self._stacked,
            "n_labels": self._n_known,
            "head_dropout": p["dropout"],
            "masked_steps": (p["time_masks"], p["time_mask_share"]),
            "masked_features": (p["feature_masks"], p["feature_mask_share"]),
        }

    def _fitted_network(self, parameters: dict[str, Any], device: str) -> Network:
        return transcription_network(device=device, n_threads=effective_threads(self.n_jobs), **parameters)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

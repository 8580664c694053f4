"""What a language model writes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .. import backends, losses
from ..decoding import Choices, Decoder
from ..estimators.devices import to_host
from ..estimators.fitted import Fitted
from ..estimators.n_jobs import effective_threads
from ..estimators.parameters import check_count
from ..inference import State
from ..sequences import TOKEN, Sequences
from .corpus import Vocabulary

InWords = Callable[[list[list[int]]], list[Any]]
PIECE = 32  # tokens that are written before anybody looks


class Generates(Fitted):
    """Mixin of language models."""

    encoder_: Any
    n_jobs: Any
    _one_text: bool

    @property
    @abstractmethod
    def _vocabulary(self) -> Vocabulary: ...

    def predict_next(self, prompt: Any = "", top: int | None = 10) -> pd.DataFrame:
        """The most probable next tokens.

        Parameters
        ----------
        prompt : str, or list of tokens, default=""
            What has been read, from the begin of a text on.
        top : int, default=10
            How many; None: all.

        Returns
        -------
        DataFrame with the columns "token" and "probability"
            The most probable first. "<unk>" is any token that the vocabulary has not, "<end>" the end of a
            document.

        Raises
        ------
        TypeError, ValueError
            If the prompt is no text, or `top` is below 1.

        Examples
        --------
        >>> from skrnn.text import GRULanguageModel
        >>> model = GRULanguageModel(16, max_iter=40, tbptt_steps=16, random_state=0)
        >>> model = model.fit("to be or not " * 40)
        >>> model.predict_next("to b", top=1)["token"].tolist()
        ['e']
        """
        check_is_fitted(self)
        if top is not None:
            check_count("top", top)
        with self._turn() as device:
            state, last = self._read_prompt(prompt, device)
            predictor = self._predictor(device)
            step = Sequences.from_tokens([np.array([last])], predictor.network.dtype)
            scores = to_host(predictor.run(step, partial(effective_threads, self.n_jobs), state=state)[0])
        p = losses.softmax(scores.astype(np.float64))[0]
        order = np.argsort(-p, kind="stable")[:top]
        names = np.array(self._vocabulary.names(), object)
        return pd.DataFrame({"token": names[order], "probability": p[order]})

    def generate(
        self, prompt: Any = "", max_tokens: int = 200, n: int = 1, *, temperature: float = 1.0,
        top_k: int | None = None, top_p: float | None = None, stop: str | Sequence[str] | None = None,
        random_state: Any = None,
    ) -> Any:  # fmt: skip
        """Write what may follow on a prompt.

        Parameters
        ----------
        prompt : str, or list of tokens, default=""
            What comes before; it is read, and no part of what is returned.
        max_tokens : int, default=200
            Tokens, at most: a document may end before.
        n : int, default=1
            Texts, which are written side by side.
        temperature : float, default=1.0
            Tokens are drawn by softmax(scores / temperature): below 1 the probable ones become more probable.
            0: always the most probable one.
        top_k : int, default=None
            Draw from so many most probable tokens.
        top_p : float, default=None
            Draw from the fewest of these that have at least this share of their probability (Holtzman et al.
            2020).
        stop : str or list of str, default=None
            A text ends before the first of them that it comes to.
        random_state : int, RandomState or None, default=None
            The same seed writes the same texts, for any `n` the same first ones, and for any `n_jobs`. None:
            other ones each time.

        Returns
        -------
        str, or list of n of them if ``n > 1``
            Of an encoder with ``analyzer="tokens"`` lists of tokens. Unknown tokens are never written.

        Raises
        ------
        TypeError, ValueError
            If the prompt is no text, or a parameter is out of its range.

        Examples
        --------
        >>> from skrnn.text import GRULanguageModel
        >>> model = GRULanguageModel(16, max_iter=40, tbptt_steps=16, random_state=0)
        >>> model = model.fit("to be or not " * 40)
        >>> model.generate("to be or", max_tokens=9, temperature=0)
        ' not to b'
        """
        self._check_prompt(prompt)
        stops, goes_on, texts, cuts = _stops(stop), True, list[Any](), list[Any]()
        with self._turn() as device:
            decoder = self._decoder(device, prompt, max_tokens, n, temperature, top_k, top_p, random_state)
            in_words = self._vocabulary.in_words
            while goes_on:
                goes_on = decoder.go_on(PIECE if stops else max_tokens)
                texts = in_words([decoder.written(i) for i in range(n)])
                cuts = [_cut(text, stops) for text in texts]
                goes_on = goes_on and any(cut is None for cut in cuts)
            decoder.found()
        texts = [text if cut is None else cut for text, cut in zip(texts, cuts)]
        return texts[0] if n == 1 else texts

    def write(
        self, prompt: Any = "", max_tokens: int = 200, *, temperature: float = 1.0, top_k: int | None = None,
        top_p: float | None = None, stop: str | Sequence[str] | None = None, random_state: Any = None,
    ) -> Iterator[str]:  # fmt: skip
        """The same, piece by piece, as it is written.

        Parameters
        ----------
        prompt, max_tokens, temperature, top_k, top_p, stop, random_state
            See `generate`.

        Yields
        ------
        str
            Some more of the text: joined, what `generate` returns.

        Raises
        ------
        TypeError, ValueError
            As of `generate`; for an encoder with ``analyzer="tokens"``.

        Examples
        --------
        >>> from skrnn.text import GRULanguageModel
        >>> model = GRULanguageModel(16, max_iter=40, tbptt_steps=16, random_state=0)
        >>> model = model.fit("to be or not " * 40)
        >>> "".join(model.write("to be or", 9, temperature=0))
        ' not to b'
        """
        if not self._check_prompt(prompt):
            raise TypeError("write gives pieces of a text: use generate for lists of tokens")
        stops = _stops(stop)
        with self._turn() as device:
            decoder = self._decoder(device, prompt, max_tokens, 1, temperature, top_k, top_p, random_state)
        return self._pieces(device, decoder, self._vocabulary.in_words, stops)

    def _pieces(self, device: str, decoder: Decoder, in_words: InWords, stops: list[str]) -> Iterator[str]:
        """Of the text, as it is written. What may be the begin of a stop waits for the next piece, and so do
        the last two characters, of which a word that follows may take a blank away."""
        given, goes_on, held_back = "", True, max(2, *map(len, stops), 0)
        while goes_on:
            with backends.turn(device, self.allow_tf32):
                goes_on = decoder.go_on(PIECE)
                (text,) = in_words([decoder.written(0)])
                if not goes_on:
                    decoder.found()
            cut = _cut(text, stops)
            goes_on = goes_on and cut is None
            text = text if cut is None else cut
            ready = text if not goes_on else text[: max(len(given), len(text) - held_back)]
            if len(ready) > len(given):
                yield ready[len(given) :]
                given = ready

    # --- the prompt, and the decoder ---------------------------------------------------------------------
    def _check_prompt(self, prompt: Any) -> bool:
        """Raise a TypeError unless it is what texts are; whether these are strings."""
        check_is_fitted(self)
        are_strings = self.encoder_.analyzer in ("char", "word")
        if are_strings and not isinstance(prompt, str):
            raise TypeError(f"prompt must be a text, got {type(prompt).__name__}")
        return are_strings

    def _read_prompt(self, prompt: Any, device: str) -> tuple[State | None, int]:
        """The state before the last token of what has been read, and that token."""
        self._check_prompt(prompt)
        tokens = np.zeros(0, TOKEN)
        if not (isinstance(prompt, str) and prompt == ""):  # which no encoder takes for a list of tokens
            (tokens,) = self.encoder_.transform([prompt])
        read = np.concatenate([[self._vocabulary.begin], tokens]).astype(TOKEN)
        if len(read) == 1:
            return None, int(read[-1])
        predictor = self._predictor(device)
        before = Sequences.from_tokens([read[:-1]], predictor.network.dtype)
        threads = partial(effective_threads, self.n_jobs)
        _, state = predictor.run(before, threads, wanted="states", last=True)
        return state, int(read[-1])

    def _decoder(
        self, device: str, prompt: Any, max_tokens: int, n: int, temperature: float, top_k: int | None,
        top_p: float | None, random_state: Any,
    ) -> Decoder:  # fmt: skip
        """That has begun. To be used in a turn on the device."""
        for name, value in {"max_tokens": max_tokens, "n": n, "top_k": 1 if top_k is None else top_k}.items():
            check_count(name, value)
        number: Any
        for name, number in {"temperature": temperature, "top_p": 1 if top_p is None else top_p}.items():
            if isinstance(number, str) or not np.isscalar(number):
                raise TypeError(f"{name} must be a number, got {number!r}")
        seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
        vocabulary = self._vocabulary
        end, never = vocabulary.end, [0, vocabulary.begin]  # what no text has is never written
        if self._one_text:
            end, never = -1, [*never, vocabulary.end]
        choices = Choices(
            int(n), max_steps=int(max_tokens), end=end, never=tuple(never), seed=seed,
            temperature=float(temperature), top_k=top_k, top_p=1.0 if top_p is None else float(top_p),
        )  # fmt: skip
        state, last = self._read_prompt(prompt, device)
        predictor = self._predictor(device)
        decoder = Decoder(
            predictor.network, predictor.params, choices, n_threads=effective_threads(self.n_jobs)
        )
        decoder.begin(np.full(n, last, TOKEN), None if state is None else state.repeat(n))
        return decoder


def _stops(stop: Any) -> list[str]:
    stops: list[Any] = [] if stop is None else list(stop) if isinstance(stop, list | tuple) else [stop]
    if not all(isinstance(each, str) and each for each in stops):
        raise ValueError(f"stop must be texts that are not empty, got {stop!r}")
    return stops


def _cut(text: Any, stops: list[str]) -> Any:
    """What stands before the first stop, or None if there is none."""
    if not isinstance(text, str):  # tokens
        found = [k for k, token in enumerate(text) if token in stops]
        return text[: found[0]] if found else None
    places = [at for at in map(text.find, stops) if at >= 0]
    return text[: min(places)] if places else None

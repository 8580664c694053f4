"""How near translations come to those of people: BLEU and chrF, by sacrebleu."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sklearn.metrics import make_scorer


def bleu_score(
    y_true: Any,
    y_pred: Any,
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
    return_signature: bool = False,
) -> Any:
    """BLEU of all texts together, 0 to 100 (Papineni et al. 2002; Post 2018, "A call for clarity in reporting
    BLEU scores").

    Parameters
    ----------
    y_true : list of str, or of lists of str
        A reference for each text, or a list of several: all that are known. Where y_pred are lists of tokens
        references are, too.
    y_pred : list of str, or of lists of tokens
        The translations. Of lists, tokens are what they are, and `tokenize` is not used.
    tokenize : str, default="13a"
        What sacrebleu takes for words: that of the WMT campaigns; for others see there.
    lowercase : bool, default=False
        Whether capitals do not count.
    return_signature : bool, default=False
        Whether the second outcome is sacrebleu's signature, by which others know what was measured.

    Returns
    -------
    float, or (float, str)

    Raises
    ------
    ValueError
        If there are not as many translations as references.
    ImportError
        If sacrebleu is not installed: it comes with the extra ``text``.

    Examples
    --------
    >>> from skrnn.text import bleu_score
    >>> round(bleu_score(["the cat sat on the mat"], ["the cat sat on a mat"]), 1)  # doctest: +SKIP
    53.7
    """
    metrics = _sacrebleu()
    texts, references, of_tokens = _as_sacrebleu(y_true, y_pred)
    metric = metrics.BLEU(tokenize="none" if of_tokens else tokenize, lowercase=lowercase, force=of_tokens)
    return _scored(metric, texts, references, return_signature)


def chrf_score(y_true: Any, y_pred: Any, *, word_order: int = 0, return_signature: bool = False) -> Any:
    """chrF of all texts together, 0 to 100: an F-score of sequences of characters (Popović 2015).

    Parameters
    ----------
    y_true, y_pred : see `bleu_score`
    word_order : int, default=0
        Also of sequences of up to so many words: 2 is chrF++.
    return_signature : bool, default=False
        See `bleu_score`.

    Returns
    -------
    float, or (float, str)

    Raises
    ------
    ValueError, ImportError
        As of `bleu_score`.

    Examples
    --------
    >>> from skrnn.text import chrf_score
    >>> chrf_score(["the cat"], ["the cat"])  # doctest: +SKIP
    100.0
    """
    texts, references, _ = _as_sacrebleu(y_true, y_pred)
    return _scored(_sacrebleu().CHRF(word_order=word_order), texts, references, return_signature)


bleu_scorer = make_scorer(bleu_score)
chrf_scorer = make_scorer(chrf_score)


def _sacrebleu() -> Any:
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise ImportError('BLEU and chrF need sacrebleu: pip install "skrnn[text]"') from error
    return metrics


def _scored(metric: Any, texts: list[str], references: list[list[str | None]], signed: bool) -> Any:
    score = float(metric.corpus_score(texts, references).score)
    return (score, str(metric.get_signature())) if signed else score


def _as_sacrebleu(y_true: Any, y_pred: Any) -> tuple[list[str], list[list[str | None]], bool]:
    """The translations, the first reference of each, the second ones, ...; and whether these are tokens."""
    for name, texts in ("y_true", y_true), ("y_pred", y_pred):
        if isinstance(texts, str):
            raise ValueError(f"{name} is one text: pass a list of texts, [{name}] for one of them")
    true, pred = list(y_true), list(y_pred)
    for name, texts in ("y_true", true), ("y_pred", pred):
        for i, text in enumerate(texts):
            if not isinstance(text, Iterable):
                raise TypeError(f"{name}[{i}] must be a text, got {text!r}")
    if len(true) != len(pred):
        raise ValueError(f"y_true has {len(true)} texts and y_pred {len(pred)}")
    if not pred:
        raise ValueError("y_true and y_pred are empty")
    of_tokens = not isinstance(pred[0], str)

    def is_one(reference: Any) -> bool:
        strings = not isinstance(reference, str) and all(isinstance(token, str) for token in reference)
        return isinstance(reference, str) or (of_tokens and len(reference) > 0 and strings)

    several = [[_text(own)] if is_one(own) else [_text(each) for each in own] for own in true]
    if not all(several):
        raise ValueError(f"y_true[{several.index([])}] has no reference")
    most = max(map(len, several))
    columns = [[own[k] if k < len(own) else None for own in several] for k in range(most)]
    return [_text(text) for text in pred], columns, of_tokens


def _text(text: str | Sequence[str]) -> str:
    return text if isinstance(text, str) else " ".join(map(str, text))

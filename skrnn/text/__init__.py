"""Text: sequences of integers for words and characters; spans that tags mark; language models and
translators."""

from .alignment import AlignmentDisplay
from .bleu import bleu_score, bleu_scorer, chrf_score, chrf_scorer
from .encoder import TokenEncoder
from .language_models import GRULanguageModel, LSTMLanguageModel, RNNLanguageModel
from .padding import cut_padding
from .spans import find_spans, span_f1_score, span_f1_scorer
from .translating import Translation
from .translators import GRUTranslator, LSTMTranslator, RNNTranslator

__all__ = [
    "AlignmentDisplay",
    "GRULanguageModel",
    "GRUTranslator",
    "LSTMLanguageModel",
    "LSTMTranslator",
    "RNNLanguageModel",
    "RNNTranslator",
    "TokenEncoder",
    "Translation",
    "bleu_score",
    "bleu_scorer",
    "chrf_score",
    "chrf_scorer",
    "cut_padding",
    "find_spans",
    "span_f1_score",
    "span_f1_scorer",
]

"""Text: sequences of integers for words and characters; spans that tags mark; language models."""

from .encoder import TokenEncoder
from .language_models import GRULanguageModel, LSTMLanguageModel, RNNLanguageModel
from .padding import cut_padding
from .spans import find_spans, span_f1_score, span_f1_scorer

__all__ = [
    "GRULanguageModel",
    "LSTMLanguageModel",
    "RNNLanguageModel",
    "TokenEncoder",
    "cut_padding",
    "find_spans",
    "span_f1_score",
    "span_f1_scorer",
]

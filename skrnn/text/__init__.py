"""Text: from words and characters to sequences of integers, and back; spans that tags mark."""

from .encoder import TokenEncoder
from .padding import cut_padding
from .spans import find_spans, span_f1_score, span_f1_scorer

__all__ = ["TokenEncoder", "cut_padding", "find_spans", "span_f1_score", "span_f1_scorer"]

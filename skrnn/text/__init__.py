"""Text: from words and characters to sequences of integers, and back."""

from .encoder import TokenEncoder
from .padding import cut_padding

__all__ = ["TokenEncoder", "cut_padding"]

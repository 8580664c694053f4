"""Audio: recordings from files, their features, and rates of errors in what is understood of them."""

from .features import MFCC, FrameStream, LogMelSpectrogram
from .files import Audio, change_speed, read_audio
from .metrics import (
    character_error_rate,
    character_error_rate_scorer,
    edit_distance,
    label_error_rate,
    label_error_rate_scorer,
    word_error_rate,
    word_error_rate_scorer,
)

__all__ = [
    "MFCC",
    "Audio",
    "FrameStream",
    "LogMelSpectrogram",
    "change_speed",
    "character_error_rate",
    "character_error_rate_scorer",
    "edit_distance",
    "label_error_rate",
    "label_error_rate_scorer",
    "read_audio",
    "word_error_rate",
    "word_error_rate_scorer",
]

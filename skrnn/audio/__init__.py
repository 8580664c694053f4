"""Audio: recordings from files, their features, transcribers of what is said in them, and rates of errors."""

from .features import MFCC, FrameStream, LogMelSpectrogram
from .files import Audio, change_speed, read_audio
from .live import LiveTranscript
from .metrics import (
    character_error_rate,
    character_error_rate_scorer,
    edit_distance,
    label_error_rate,
    label_error_rate_scorer,
    word_error_rate,
    word_error_rate_scorer,
)
from .picture import TranscriptDisplay
from .transcribers import GRUTranscriber, LSTMTranscriber, RNNTranscriber
from .transcribing import AlignedLabel, Transcription

__all__ = [
    "MFCC",
    "AlignedLabel",
    "Audio",
    "FrameStream",
    "GRUTranscriber",
    "LSTMTranscriber",
    "LiveTranscript",
    "LogMelSpectrogram",
    "RNNTranscriber",
    "TranscriptDisplay",
    "Transcription",
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

"""What networks are made of: each file holds one kind of link.

A link reads values, the outcomes of other links, and makes one. It computes nothing: it records the
operations of a backend. To add one, write its file here and, where it has a kernel of its own, an operation
and its adjoint in each backend.
"""

from .attention import Attention
from .crf import CRF
from .cross_attention import CrossAttention
from .ctc import CTC
from .dense import Dense
from .dropout import Dropout
from .embedding import Embedding
from .join import Join
from .link import Link
from .masks import Masks, Stretches
from .mate import Mate
from .objective import Objective
from .pooling import Last, Pool
from .recurrent import Recurrent
from .softmax import Softmax
from .tanh import Tanh
from .unfolding import Unfold

__all__ = [
    "CRF",
    "CTC",
    "Attention",
    "CrossAttention",
    "Dense",
    "Dropout",
    "Embedding",
    "Join",
    "Last",
    "Link",
    "Masks",
    "Mate",
    "Objective",
    "Pool",
    "Recurrent",
    "Softmax",
    "Stretches",
    "Tanh",
    "Unfold",
]

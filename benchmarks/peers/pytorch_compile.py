"""`torch.compile`, which leaves recurrent layers alone unless `allow_rnn` is set; with it, LSTMs keep
the eager kernel in inference and cannot be trained, and the steps of a GRU or an RNN are unrolled, which
takes a minute to compile."""

from __future__ import annotations

import os

os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # no compiling processes that outlast the first call

import torch

from benchmarks.peers import pytorch
from benchmarks.shapes import Shape
from benchmarks.work import Work

torch._dynamo.config.allow_rnn = True


def forward(cell: str, shape: Shape, threads: int, **options) -> Work:
    return pytorch.forward(cell, shape, threads, compiled=True, **options)


def training_step(cell: str, shape: Shape, threads: int, **options) -> Work:
    return pytorch.training_step(cell, shape, threads, compiled=True, **options)

"""The words of the report: names of columns, titles and explanations of the parts."""

from __future__ import annotations

from benchmarks.peers import PEERS

NAMES = {name: peer.label for name, peer in PEERS.items()} | {
    "skrnn": "skrnn",
    "skrnn_one_thread": "skrnn, one thread",
    "skrnn_steps": "its training steps",
    "skrnn_all_long": "skrnn, all 200 long",
    "skrnn_cold": "skrnn, empty cache",
    "skrnn_bfloat16": "skrnn, bfloat16",
    "pytorch_ragged_packed": "PyTorch packed",
    "pytorch_ragged_padded": "PyTorch padded",
    "onnx_runtime_bound": "ONNX Runtime, bound buffers",
}
TITLES = {
    "forward": "Forward pass",
    "training": "Training step",
    "compiled": "torch.compile",
    "epoch": "An epoch of `fit`",
    "predict": "`predict`",
    "ragged": "Ragged sequences",
    "streaming": "Streaming",
    "whole": "A whole process",
    "first_fit": "First fit",
    "imports": "Import",
    "memory": "Peak memory",
    "half_speed": "bfloat16",
    "half_accuracy": "bfloat16: accuracy",
}

HEADING = """
Times are medians of interleaved rounds; in brackets the ratio to skrnn, above 1 where skrnn is faster.
Quartiles and numbers of rounds are in `results.json`. All float32; networks are named by (sequences, steps,
features, hidden units); one thread unless it says otherwise. Except for epochs and whole processes, all
libraries start from the same weights, and what they compute is compared before it is measured. The floor is
the matrix products at the micro-kernel's speed on operands in the L1 cache, measured in the same rounds, and
0.2 ns for each activation.
"""
TEXTS = {
    "forward": """
The network on a prepared minibatch, the output of the head included.
""",
    "training": """
Forward pass, squared error, back-propagation through time, clipping to norm 1, Adam.
""",
    "compiled": """
`torch.compile` with `allow_rnn`, on one shape. Compiling a GRU or an RNN takes about a minute, which does not
count here.
""",
    "epoch": """
One epoch in a new order. Ours: the difference of neighbouring entries of `history_["seconds"]`; its training
steps: as many on prepared arrays. skorch and scikit-learn's MLP (all steps side by side as features): a whole
fit, divided by its epochs.
""",
    "predict": """
From an array of NumPy to another.
""",
    "ragged": """
A training step on 32 sequences of 5 to 200 steps, drawn uniformly, and of ours on 32 of 200 steps. Packed:
`pack_padded_sequence(enforce_sorted=False)`; padded: all steps are computed, the head reads the last real
one.
""",
    "streaming": """
One step of one sequence with a carried state, to the output of the head; microseconds. ONNX Runtime: `run`
with the states fed back; bound buffers: input, outputs and states bound in advance.
""",
    "whole": """
Import, data, a fit of 4,000 sequences (100 steps, 8 features, LSTM of 64, batch 32, 10 epochs), prediction:
seconds of fresh processes in turn, each pinned to one core. The scripts are in `whole/`.
""",
    "first_fit": """
One epoch on 64 sequences by a process that has fitted nothing, seconds. Loading Numba counts, importing skrnn
and scikit-learn does not.
""",
    "imports": """
Seconds in fresh processes, beside `import sklearn, numba`; the median of pairs.
""",
    "memory": """
How far the peak of a fit lies above what the process had before, megabytes: two epochs of four minibatches
(64, 100, 32, 256); and two epochs of 8 sequences of 100,000 steps, H = 32, `tbptt_steps=100`.
""",
    "half_speed": """
`dtype="bfloat16"` beside float32; in brackets its share of the time.
""",
    "half_accuracy": """
Means of three seeds, the same settings in both types. Not more than 1 % worse is the target; on
JapaneseVowels, 1 % of the accuracy.
""",
}

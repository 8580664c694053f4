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
    "skrnn_tf32": "skrnn, TF32",
    "pytorch_tf32": "PyTorch, TF32",
    "pytorch_graph": "PyTorch, CUDA graph",
    "pytorch_ragged_padded_graph": "PyTorch padded, CUDA graph",
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
    "gpu_training": "GPU: training step",
    "gpu_ragged": "GPU: ragged sequences",
    "gpu_forward": "GPU: forward pass",
    "gpu_epoch": "GPU: an epoch of `fit`",
    "gpu_compiled": "GPU: torch.compile",
    "gpu_sanitizer": "GPU: compute-sanitizer",
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
    "gpu_training": """
Forward pass, squared error, back-propagation through time, clipping to norm 1, Adam. Targets: PyTorch (cuDNN,
float32, TF32 off), launch by launch or as one CUDA graph, whichever is faster, takes at least 1.5 times as
long up to H = 128, twice as long as a GRU with H = 256, and is no faster up to H = 512 with B <= 256.
""",
    "gpu_ragged": """
A training step on sequences of 1 to T steps, drawn uniformly. Packed and padded as on the CPU; padded also as
one CUDA graph, which packing cannot be, since it reads the lengths on the host. Target: the fastest of them
takes at least twice as long up to H = 512.
""",
    "gpu_forward": """
The network in inference, the output of the head included.
""",
    "gpu_epoch": """
One epoch of 20 minibatches in a new order, the data on the device. Ours: the difference of neighbouring
entries of `history_["seconds"]`; its training steps: as many of the table above. PyTorch's graph is that of
one step, which reads each minibatch from where it has been copied to.
""",
    "gpu_compiled": """
`torch.compile` with `allow_rnn`, on two shapes: it compiles every step.
""",
    "gpu_sanitizer": """
Problems (errors, hazards, other bits, and a run that breaks off) in small fits of each family of kernels:
every cell, both resets of a GRU, masks, ragged sequences, float32 and float64, weights in registers, in
shared memory, and a launch per step. Each fit is made in memory filled with zeros and in memory filled with
NaN, and has to end with the same bits. Initcheck would report what is read on purpose and counts nothing.
The command, which `python -m benchmarks.gpu --only sanitizer` runs cell by cell, with memcheck, racecheck and
synccheck:
`compute-sanitizer --tool memcheck python -m benchmarks.sanitize`.
""",
}
GPU_HEADING = """
Times are medians of interleaved rounds of at least 10 ms, the device waited for at the end of each; in
brackets the ratio to skrnn in float32 with TF32 off, above 1 where skrnn is faster. Networks are named by
(sequences, steps, features, hidden units). What the libraries compute is compared before it is measured;
compiling and the capture of graphs are not timed. Ours sorts and reads its minibatches out of the data anew,
which the others have ready. The floor is the longer of two times: the FLOPs of the matrix products at the
speed of a large product in float32, and the bytes that have to be moved at the speed of a copy, both measured
on the same device; small networks that stay in a cache may come in below the second. Rows with * did not fit
into the memory side by side: one library was measured after another, and what they computed was not compared.
"""
GPU_COMMAND = """
`pip install ".[cuda,bench-gpu]" && python -m benchmarks.gpu`, on a machine with an NVIDIA GPU that nothing
else uses, measures what follows; `--resume` goes on after an interruption.
"""
TILES_OF = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU", "gru-reset-before": "GRU, `reset_after=False`"}
TILES = """
What the kernels take that keep the recurrent weights of a layer in a block, as the assembler reports it:
nothing here was measured, and no GPU is needed. For each kind of GPU: registers of a thread; bytes of them
that are spilled to memory; blocks that a multiprocessor holds, by the toolkit's formula, where 0 would be a
launch that fails. Threads and shared memory: of a block with as many sequences as it may have, of the
kernel that takes more. Registers and spills: of the forward and the backward kernel, compiled at both ends
of a range at least. Blocks: for every number of hidden units at least as many, since no kernel takes more
registers than it may. Networks of more hidden units make a launch for each step. sm_80: A100; sm_89: L4,
RTX 40; sm_90: H100; sm_120: RTX 50.
"""

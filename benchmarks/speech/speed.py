"""How fast: the loss, training steps, features, and a live transcript.

    python -m benchmarks.speech.speed --threads 1 2 --output FILE

Losses and training steps beside PyTorch's `CTCLoss` on the CPU: 32 sequences of 200 steps, 20 labels of 30
each, the blank included; networks of two layers of 128 in both directions on 40 features. Log mel spectra of
a minute of sound beside librosa and kaldi-native-fbank. Live: frames of 10 ms, one by one, features included,
through one layer of 128 that reads forwards. The exit status is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import timing
from benchmarks.compare import compare
from benchmarks.ours import FLOAT, new_trainer
from benchmarks.page import measured_by
from benchmarks.peers import missing
from benchmarks.report import table, timed
from benchmarks.shapes import LEARNING_RATE, MAX_NORM
from benchmarks.speech.page import PAGE
from benchmarks.work import Work, work
from skrnn import backends, losses
from skrnn.audio import GRUTranscriber, LogMelSpectrogram
from skrnn.batches import Jobs
from skrnn.layout import Parameters
from skrnn.links import CTC
from skrnn.network import Network
from skrnn.recipe import transcription_network
from skrnn.recording import Recording, Rows
from skrnn.sequences import Sequences, Targets
from skrnn.training import Data

B, T, K, S, F, H = 32, 200, 30, 20, 40, 128
RATE, SECONDS = 16_000, 60
TARGETS = {"loss": 8.0, "lstm": 1.6, "gru": 4.0}
Labels = list[np.ndarray]


def labels() -> Labels:
    rng = np.random.default_rng(0)
    return [rng.integers(1, K, S) for _ in range(B)]


def numbers(width: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((B, T, width)).astype(FLOAT)


# --- the loss with its gradient ---------------------------------------------------------------------
def loss(threads: int) -> Work:
    """Of scores that lie there already; the result are the mean loss and the gradient of the first step."""
    backend, link = backends.get("cpu"), CTC("ctc", "X", K)
    sequences = Sequences.from_dense(numbers(K))
    jobs, parameters, tape = Jobs(sequences.lengths, B, None), Parameters([], FLOAT), backend.Tape(threads)
    rec = Recording(backend, tape, backend.Workspace(FLOAT), jobs.room(), parameters)
    jobs.plan(np.arange(B))
    reading = backend.Tape()
    rec.tape = reading  # which is done once
    X = rec.read(sequences, jobs)["X"]
    reading.run()
    rec.tape, flops = tape, 1e12  # as many threads as are asked for
    found, d = link.forward(rec, Rows(X.array, K)).objective(rec, Targets.of_tokens(labels()), learns=True)

    def result() -> np.ndarray:
        tape.run(1, flops)
        return np.append(found.values.array[:B].mean(), d.array.reshape(-1, d.row)[:B, :K])

    return work(lambda: tape.run(1, flops), result)


def loss_in_pytorch(threads: int) -> Work:
    """With the softmax before it, which is part of ours."""
    import torch

    torch.set_num_threads(threads)
    scores = torch.from_numpy(numbers(K).transpose(1, 0, 2).copy()).requires_grad_()
    y, lengths = torch.from_numpy(np.stack(labels())), torch.full((B,), T)
    each = torch.nn.CTCLoss(reduction="sum")

    def learn() -> float:
        scores.grad = None
        value = each(torch.log_softmax(scores, -1), y, lengths, torch.full((B,), S)) / B
        value.backward()
        return value.item()

    return work(learn, lambda: np.append(learn(), scores.grad[0].numpy()))


# --- training steps -------------------------------------------------------------------------------------
def network(cell: str, threads: int) -> Network:
    return transcription_network(F, K - 1, cell=cell, hidden_size=H, num_layers=2, n_threads=threads)


def step(cell: str, threads: int) -> Work:
    """The result are the head's weights."""
    net = network(cell, threads)
    data = Data(Sequences.from_dense(numbers(F)), Targets.of_tokens(labels()), None)
    params = net.pack(net.parameters.initial(np.random.RandomState(0)))
    trainer = new_trainer(net, params, losses.multiclass_log_loss, data, B)
    flops = net.flops(B * T, training=True)

    def learn() -> None:
        trainer.jobs.plan(np.arange(B))
        trainer.tape.run(1, flops)

    return work(learn, lambda: net.unpack(trainer.params)["head.weight"])


def step_in_pytorch(cell: str, threads: int) -> Work:
    import torch

    torch.set_num_threads(threads)
    layers = getattr(torch.nn, cell.upper())(F, H, num_layers=2, bidirectional=True)
    head = torch.nn.Linear(2 * H, K)
    own = network(cell, 1).parameters.initial(np.random.RandomState(0))
    with torch.no_grad():
        for name, array in (
            *layers.named_parameters(),
            *((f"head.{n}", p) for n, p in head.named_parameters()),
        ):
            array.copy_(torch.from_numpy(np.ascontiguousarray(own[name])))
    parameters = [*layers.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE, fused=True)
    X = torch.from_numpy(numbers(F).transpose(1, 0, 2).copy())
    y, lengths = torch.from_numpy(np.stack(labels())), torch.full((B,), T)
    each = torch.nn.CTCLoss(reduction="sum")

    def learn() -> None:
        optimizer.zero_grad()
        log_p = torch.log_softmax(head(layers(X)[0]), -1)
        (each(log_p, y, lengths, torch.full((B,), S)) / B).backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
        optimizer.step()

    return work(learn, lambda: head.weight.detach().numpy())


# --- features ---------------------------------------------------------------------------------------------
def sound(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=0.1, size=int(seconds * RATE)).astype(FLOAT)


def of_kaldi() -> Callable[[], Any]:
    import kaldi_native_fbank as kaldi

    options = kaldi.FbankOptions()
    options.frame_opts.dither, options.frame_opts.samp_freq, options.mel_opts.num_bins = 0, RATE, F
    signal = sound(SECONDS)

    def compute() -> None:
        fbank = kaldi.OnlineFbank(options)
        fbank.accept_waveform(RATE, signal.tolist())
        fbank.input_finished()
        np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])

    return compute


def of_librosa() -> Callable[[], Any]:
    import librosa

    signal = sound(SECONDS)

    def compute() -> None:
        options = {"n_fft": 400, "hop_length": 160, "n_mels": F}
        librosa.power_to_db(librosa.feature.melspectrogram(y=signal, sr=RATE, **options))

    return compute


def features() -> list[list[str]]:
    """Milliseconds for a minute of sound."""
    rows, signal = [], sound(SECONDS)
    for convention, module, peer in (
        ("kaldi", "kaldi_native_fbank", of_kaldi),
        ("librosa", "librosa", of_librosa),
    ):
        mel = LogMelSpectrogram(RATE, n_mels=F, convention=convention, normalize=None)
        works = {"skrnn": work(partial(mel.transform, [signal]), lambda: np.zeros(1))}
        if find_spec(module):
            works["peer"] = work(peer(), lambda: np.zeros(1))
        found = {name: np.median(each) for name, each in timing.interleave(works, timing.SHORT).items()}
        beside = (
            f"{1e3 * found['peer']:.1f} ({found['peer'] / found['skrnn']:.2f}×)" if "peer" in found else "–"
        )
        rows.append(
            [f"log mel of a minute, as {convention}", "", "1", f"{1e3 * found['skrnn']:.1f}", beside, "", ""]
        )
    return rows


# --- live ---------------------------------------------------------------------------------------------------
def live(cell: str = "gru", seconds: float = 30.0) -> list[str]:
    """Frame after frame of 160 samples, features included."""
    rng = np.random.default_rng(0)
    mel = LogMelSpectrogram(RATE, n_mels=F, normalize=None)
    model = GRUTranscriber(H, num_layers=1, bidirectional=False, features=mel, max_iter=1, random_state=0)
    model.fit([sound(1.0) for _ in range(4)], ["".join(rng.choice(list("abcdefgh"), 8)) for _ in range(4)])
    transcript, taken = model.stream(), []
    for chunk in np.split(sound(seconds), int(seconds * 100)):
        start = time.perf_counter()
        transcript.push(chunk)
        taken.append(time.perf_counter() - start)
    median, most = np.percentile(taken, [50, 99])
    return [f"live, a second of sound ({cell}, {H})", "", "1", f"{1e3 * sum(taken) / seconds:.1f}", "",
            f"a frame: median {1e6 * median:.0f} µs, 99th percentile {1e6 * most:.0f} µs", ""]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    plan, rows, all_met, absent = timing.plan(options.short), [], True, missing("pytorch")
    for threads in options.threads:
        with threadpool_limits(threads):
            for what, title, ours, peer, steps in (
                ("loss", "loss and gradient", loss, loss_in_pytorch, None),
                ("lstm", "training step", partial(step, "lstm"), partial(step_in_pytorch, "lstm"), 3),
                ("gru", "training step", partial(step, "gru"), partial(step_in_pytorch, "gru"), 3),
            ):
                others = {} if absent else {"pytorch": partial(peer, threads)}
                found = compare(
                    {"skrnn": ours(threads)},
                    others,
                    {"pytorch": absent} if absent else {},
                    plan,
                    threads,
                    steps,
                )
                met = bool(absent) or found["ratios"]["pytorch"]["ratio"] >= TARGETS[what]
                all_met &= met
                shape = f"{B}, {T}, {K}, {S}" if what == "loss" else f"{what}, 2 x {H}, both ways"
                verdict = "" if absent else "met" if met else "**missed**"
                target = f">= {TARGETS[what]:g}×"
                rows.append([title, shape, str(threads), *(timed(found, n) for n in ("skrnn", "pytorch")),
                             target, verdict])  # fmt: skip
                print(" | ".join(rows[-1]), flush=True)
    with threadpool_limits(1):
        rows += [*features(), live()]
    header = ["what", "shape", "threads", "skrnn, ms", "the other, ms", "target, or more", ""]
    command = (
        f"benchmarks.speech.speed --threads {' '.join(map(str, options.threads))}"
        f"{' --short' if options.short else ''}"
    )
    notes = " ".join((__doc__ or "").split("\n\n")[2].split())
    text = f"## Speed\n\n{measured_by(command)}\n\n{notes}\n\n{table(header, rows)}\n"
    print("\n" + text)
    if options.output is not None:
        PAGE.write("speed", text, options.output)
    return 0 if all_met else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""Training steps and beam search of translators, beside PyTorch.

    python -m benchmarks.translation.speed --threads 1 2 --output FILE

Minibatches of 64 pairs of 20 words each, 8,000 of which there are in both languages, attention by dot
products; medians of interleaved rounds, what both have learnt after three steps is compared before. The
exit status is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import timing
from benchmarks.compare import compare
from benchmarks.ours import FLOAT, new_trainer
from benchmarks.page import measured_by
from benchmarks.peers import missing
from benchmarks.report import table, timed
from benchmarks.shapes import LEARNING_RATE, MAX_NORM
from benchmarks.translation.page import PAGE
from benchmarks.work import Work, work
from skrnn import losses
from skrnn.decoding import Choices, Decoder
from skrnn.network import Network
from skrnn.recipe import translation_network
from skrnn.sequences import TOKEN, Sequences, Targets
from skrnn.training import Data

V, B, T, WIDTH = 8_000, 64, 20, 5
BEGIN, END = V - 2, V - 1
STEPS = (("lstm", 256, 1.3), ("lstm", 128, 1.5), ("gru", 256, 1.8), ("gru", 128, 2.0))
SEARCHES = (("lstm", 256, 5.0), ("gru", 128, 5.0))


class Model(NamedTuple):
    cell: str
    H: int

    def network(self, threads: int) -> Network:
        return translation_network(
            V,
            V,
            cell=self.cell,
            hidden_size=self.H,
            embedding_size=self.H,
            attention="dot",
            n_threads=threads,
        )

    def weights(self) -> dict[str, np.ndarray]:
        """What both begin with, by the names of ours."""
        return self.network(1).parameters.initial(np.random.RandomState(0))


def texts() -> tuple[np.ndarray, np.ndarray]:
    """Sources (B, T) and targets (B, T + 1), by Zipf's law."""
    p = 1 / np.arange(1, 1 + V) ** 1.1
    rng = np.random.default_rng(0)
    return tuple(rng.choice(V, (B, n), p=p / p.sum()).astype(TOKEN) for n in (T, T + 1))  # type: ignore


def ours(model: Model, threads: int) -> Work:
    """Training steps; the result are the softmax's weights."""
    net, (source, target) = model.network(threads), texts()
    data = Data(
        Sequences.from_tokens(list(target[:, :-1]), FLOAT),
        Targets(np.ascontiguousarray(target[:, 1:]).reshape(-1, 1)), None,
        Sequences.from_tokens(list(source), FLOAT),
    )  # fmt: skip
    trainer = new_trainer(net, net.pack(model.weights()), losses.multiclass_log_loss, data, B)
    flops = net.flops(B * T, training=True)

    def step() -> None:
        trainer.jobs.plan(np.arange(B))
        trainer.tape.run(1, flops)

    return work(step, lambda: net.unpack(trainer.params)["head.weight"])


def theirs(model: Model, threads: int) -> Work:
    """The same in PyTorch."""
    import torch

    from benchmarks.translation import with_pytorch as peer

    net, (source, target) = in_pytorch(model, threads), texts()
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE, fused=True)
    read, lengths = torch.from_numpy(source.T.astype(np.int64)), torch.full((B,), T)
    tokens = torch.from_numpy(target.T.astype(np.int64))
    minibatch = read, lengths, tokens[:-1].contiguous(), tokens[1:].contiguous()

    def step() -> None:
        optimizer.zero_grad()
        peer.loss_of(net, minibatch, 0.0).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), MAX_NORM)
        optimizer.step()

    return work(step, lambda: net.head.weight.detach().numpy())


def in_pytorch(model: Model, threads: int) -> Any:
    import torch

    from benchmarks.translation import with_pytorch as peer

    torch.set_num_threads(threads)
    net = peer.EncoderDecoder(
        V, V, cell=model.cell, hidden_size=model.H, embedding_size=model.H, attention="dot"
    )
    peer.load(net, model.weights())
    return net


def searches(model: Model, threads: int) -> Work:
    """The best translation of each source, of T tokens at most."""
    net, (source, _) = model.network(threads), texts()
    params, mates = net.pack(model.weights()), Sequences.from_tokens(list(source), FLOAT)

    def search() -> None:
        choices = Choices(B, WIDTH, T, END, length_penalty=1.0)
        Decoder(net, params, choices, mates).write(np.full(B, BEGIN, TOKEN))

    return work(search, lambda: np.zeros(1))


def searches_in_pytorch(model: Model, threads: int, at_once: int) -> Work:
    """The same of so many sentences at once: 1 as tutorials do it."""
    import torch

    from benchmarks.translation import with_pytorch as peer

    net, (source, _) = in_pytorch(model, threads).eval(), texts()
    read, lengths = torch.from_numpy(source.T.astype(np.int64)), torch.full((B,), T)

    def search() -> None:
        for i in range(0, B, at_once):
            own = slice(i, i + at_once)
            peer.beam_search(net, read[:, own], lengths[own], WIDTH, BEGIN, END, T)

    return work(search, lambda: np.zeros(1))


BEAMS = {
    "pytorch": partial(searches_in_pytorch, at_once=1),
    "pytorch_at_once": partial(searches_in_pytorch, at_once=B),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    plan, rows, all_met, absent = timing.plan(options.short), [], True, missing("pytorch")
    for threads in options.threads:
        with threadpool_limits(threads):
            for title, make, peers, shapes, steps in (
                ("training step", ours, {"pytorch": theirs}, STEPS, 3),
                (f"search, {WIDTH} wide", searches, BEAMS, SEARCHES, None),
            ):
                for cell, H, target in shapes:
                    model = Model(cell, H)
                    others = {
                        name: partial(peer, model, threads) for name, peer in peers.items() if not absent
                    }
                    reasons = {"pytorch": absent} if absent else {}
                    found = compare({"skrnn": make(model, threads)}, others, reasons, plan, threads, steps)
                    met = bool(absent) or found["ratios"]["pytorch"]["ratio"] >= target
                    all_met &= met
                    cells = [timed(found, name) for name in ("skrnn", "pytorch", "pytorch_at_once")]
                    verdict = "" if absent else "met" if met else "**missed**"
                    rows.append([title, f"{cell}, {H}", str(threads), *cells, f">= {target:g}×", verdict])
                    print(" | ".join(rows[-1]), flush=True)
    header = ["what", "network", "threads", "skrnn", "PyTorch", "all sentences at once", "target", ""]
    command = (
        f"benchmarks.translation.speed --threads {' '.join(map(str, options.threads))}"
        f"{' --short' if options.short else ''}"
    )
    text = f"## Speed\n\n{measured_by(command)}\n\n{table(header, rows)}\n"
    print("\n" + text)
    if options.output is not None:
        PAGE.write("speed", text, options.output)
    return 0 if all_met else 1


if __name__ == "__main__":
    raise SystemExit(main())

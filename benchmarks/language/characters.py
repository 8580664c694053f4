"""Shakespeare, character by character: what a network has learnt in a given time, and what a pass takes.

    python -m benchmarks.language.characters
    python -m benchmarks.language.characters --seconds 60 600 --threads 2 --peers --output FILE

`LSTMLanguageModel` with its defaults, but for the number of passes that fit into the time; the last 111,540
characters are scored. Beside it is the same network in PyTorch, if asked for, with the same minibatches,
optimiser and rates. The exit status is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks import datasets
from benchmarks.language.page import PAGE
from benchmarks.page import measured_by
from benchmarks.peers import missing
from benchmarks.report import table
from skrnn.text import LSTMLanguageModel

TARGETS = {60: 1.52, 600: 1.47}  # seconds, nats per character with the state carried on
SHARE = 0.65  # of PyTorch's seconds per pass
BLOCK = 256
MOST_PASSES = 30  # of a million characters


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", nargs="+", type=int, default=[60, 600])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", action="store_true", help="the same network in PyTorch, too")
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    train, test = datasets.load_tinyshakespeare()
    rows, all_met, context = [], True, train[-1000:]
    with threadpool_limits(options.threads):
        LSTMLanguageModel(max_iter=1, random_state=0).fit(train[:100_000])  # compiles
        start = time.perf_counter()
        LSTMLanguageModel(max_iter=1, random_state=0).fit(train)
        of_a_pass = time.perf_counter() - start
        for seconds in options.seconds:
            passes = max(1, min(MOST_PASSES, int(seconds / of_a_pass)))
            start = time.perf_counter()
            model = LSTMLanguageModel(max_iter=passes, random_state=options.seed).fit(train)
            taken = time.perf_counter() - start
            carried = -model.score(test, context=context)
            cold = -model.score(test, context=context, block_size=BLOCK)
            target = TARGETS.get(seconds)
            met = target is None or carried <= target
            all_met &= met
            wanted = "" if target is None else f"<= {target}"
            row = [f"{seconds} s", f"{model.n_iter_} in {taken:.1f} s", f"{carried:.4f}", wanted]
            rows.append([*row, "" if target is None else "met" if met else "**missed**", f"{cold:.4f}"])
            print(" | ".join(rows[-1]), flush=True)
        peer = ""
        if options.peers and not (absent := missing("pytorch")):
            from benchmarks.language.with_pytorch import Characters

            theirs = Characters(model, train, options.threads)
            of_theirs = min(theirs.passes(1) for _ in range(2))
            ours = []
            for _ in range(2):
                start = time.perf_counter()
                LSTMLanguageModel(max_iter=1, random_state=0).fit(train)
                ours.append(time.perf_counter() - start)
            share = min(ours) / of_theirs
            all_met &= share <= SHARE
            verdict = "met" if share <= SHARE else "**missed**"
            peer = (
                f"A pass takes {min(ours):.1f} s, and {of_theirs:.1f} s in PyTorch: a share of {share:.2f} "
                f"(target <= {SHARE}: {verdict}).\n"
            )
            print(peer)
        elif options.peers:
            print(f"PyTorch left out: {absent}")
    header = ["time", "passes", "nats, state carried", "target", "", f"nats, blocks of {BLOCK}"]
    command = (
        f"benchmarks.language.characters --seconds {' '.join(map(str, options.seconds))} --threads "
        f"{options.threads} --seed {options.seed}{' --peers' if options.peers else ''}"
    )
    text = f"## Shakespeare\n\n{measured_by(command)}\n\n{table(header, rows)}\n\n{peer}"
    print("\n" + text)
    if options.output is not None:
        PAGE.write("characters", text, options.output)
    return 0 if all_met else 1


if __name__ == "__main__":
    raise SystemExit(main())

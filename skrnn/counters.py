"""Random bits from counters: what a dropout mask keeps, and what is sampled, depends on seed, epoch,
sequence, step and unit, on nothing else, so that it is the same on every device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def functions(jit: Callable) -> tuple[Callable, Callable, Callable, Callable, Callable]:
    """``mix``, ``sequence_key``, ``survives``, ``uniform`` and ``stretch``, from a backend's `jit`."""

    @jit
    def mix(x):
        """SplitMix64's finaliser (Steele, Lea & Flood 2014): a counter in, 64 random bits out."""
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))

    @jit
    def sequence_key(seed, epoch, stream, sequence):
        """Key of one sequence's masks in one epoch; `stream` numbers the network's dropout places."""
        golden = np.uint64(0x9E3779B97F4A7C15)
        key = mix(np.uint64(seed) + golden)
        key = mix(key + np.uint64(epoch) * golden + golden)
        key = mix(key + np.uint64(stream) * golden + golden)
        return mix(key + np.uint64(sequence) * golden + golden)

    @jit
    def uniform(key, counter):
        """A number in [0, 1)."""
        bits = mix(key + (np.uint64(counter) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))
        return np.float64(bits >> np.uint64(11)) * 2.0**-53

    @jit
    def survives(key, counter, rate):
        """Whether unit number `counter` is kept, with probability 1 - rate."""
        return uniform(key, counter) >= rate

    @jit
    def stretch(key, number, n, share):
        """Begin and end of stretch `number` of n elements: of up to a `share` of them, all lengths and places
        are equally likely."""
        size = int(uniform(key, 2 * number) * (int(share * n) + 1))
        begin = int(uniform(key, 2 * number + 1) * (n - size + 1))
        return begin, begin + size

    return mix, sequence_key, survives, uniform, stretch

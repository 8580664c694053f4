"""Masks over steps and features: which fall out is said by published random numbers, on every device."""

import gpu
import numpy as np
import pytest

from skrnn import backends
from skrnn.batches import Jobs
from skrnn.layout import Parameters
from skrnn.links import Masks, Recurrent, Stretches
from skrnn.recipe import transcription_network
from skrnn.recording import Recording
from skrnn.sequences import Sequences

FLOAT, ON_GPU = np.dtype(np.float64), pytest.param("cuda", marks=gpu.needs_gpu)
GOLDEN, M64, SEED, STREAM = 0x9E3779B97F4A7C15, 2**64 - 1, 11, 4
ONES = Sequences.from_arrays([np.ones((n, 7)) for n in (5, 1, 12, 8)])


def mixed(x):
    """SplitMix64's finaliser on Python's integers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & M64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & M64
    return x ^ (x >> 31)


def drawn_stretches(sequence, counter, stretches, n, epoch):
    """Of n elements, by the published random numbers: two for each, from that number on."""
    key = mixed(SEED + GOLDEN)
    for number in epoch, STREAM, sequence:
        key = mixed((key + number * GOLDEN + GOLDEN) & M64)
    for k in range(counter, counter + stretches.n):
        size, at = ((mixed((key + (c + 1) * GOLDEN) & M64) >> 11) * 2.0**-53 for c in (2 * k, 2 * k + 1))
        size = int(size * (int(stretches.share * n) + 1))
        begin = int(at * (n - size + 1))
        yield slice(begin, begin + size)


def masked(sequences, steps, features, *, order=None, epoch=0, device="cpu", n_threads=1, seed=SEED):
    """What training reads of the sequences."""
    with backends.turn(device):
        backend, n, width = backends.get(device), len(sequences), sequences.n_features
        link, jobs = Masks("m", "X", width, steps, features, STREAM), Jobs(sequences.lengths, n, None)
        work, tape = backend.Workspace(FLOAT), backend.Tape(n_threads)
        rec = Recording(backend, tape, work, jobs.room(), Parameters([link], FLOAT), dropout_seed=seed)
        X = rec.read(sequences, jobs)["X"]
        rows = link.forward(rec, X)
        out, read = np.full((2, sequences.n_steps, width), np.nan)
        backend.scatter(rec, rows, sequences.offsets[1:], width, out)
        backend.scatter(rec, X.rows(rec), sequences.offsets[1:], width, read)
        jobs.plan(np.arange(n) if order is None else order, epoch)
        tape.run(flops=1e12) if device == "cpu" else tape.run()
        np.testing.assert_array_equal(read, sequences.values)  # which others may read as it is
        return out


@pytest.mark.parametrize("device", ["cpu", ON_GPU])
@pytest.mark.parametrize(
    ("steps", "features"),
    [((2, 0.6), (0, 0.0)), ((0, 0.0), (2, 0.5)), ((1, 1.0), (2, 0.4)), ((3, 0.3), (1, 1.0))],
)
def test_masks_are_those_of_published_random_numbers(steps, features, device):
    steps, features = Stretches(*steps), Stretches(*features)
    for epoch in 0, 3:
        expected = np.ones((ONES.n_steps, 7))
        for i, own in enumerate(ONES.split(expected)):
            for rows in drawn_stretches(i, 0, steps, len(own), epoch):
                own[rows] = 0
            for columns in drawn_stretches(i, steps.n, features, 7, epoch):
                own[:, columns] = 0
        for order in None, np.array([2, 0, 3, 1]):
            found = masked(ONES, steps, features, order=order, epoch=epoch, device=device)
            np.testing.assert_array_equal(found, expected)
    assert 0 < expected.mean() < 1


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_masks_belong_to_sequences(n_threads, pool):
    stretches = Stretches(2, 0.5), Stretches(1, 0.5)
    found = masked(ONES, *stretches, order=np.array([3, 1, 0, 2]), n_threads=n_threads)
    np.testing.assert_array_equal(found, masked(ONES, *stretches))


def test_all_lengths_and_places_of_masks_are_likely():
    n, T, most = 4000, 9, 3
    sequences = Sequences.from_dense(np.ones((n, T, 1)))
    gone = masked(sequences, Stretches(1, 0.4), Stretches(0, 0.0)).reshape(n, T) == 0
    sizes = gone.sum(axis=1)
    np.testing.assert_allclose(np.bincount(sizes) / n, np.full(most + 1, 1 / (most + 1)), atol=0.03)
    for size in range(1, most + 1):
        begins = gone[sizes == size].argmax(axis=1)
        np.testing.assert_allclose(np.bincount(begins) / len(begins), 1 / (T - size + 1), atol=0.04)
    assert (gone[:, 1:] & ~gone[:, :-1]).sum(axis=1).max() == 1  # each is one stretch


def test_masks_of_nothing():
    """Without a seed, as when the network answers."""
    np.testing.assert_array_equal(masked(ONES, Stretches(1, 1.0), Stretches(1, 1.0), seed=None), 1)
    np.testing.assert_array_equal(masked(ONES, Stretches(2, 0.05), Stretches(2, 0.1)), 1)
    links = transcription_network(3, 3).links
    assert not any(isinstance(link, Masks) for link in links)


def test_no_two_links_draw_the_same_random_numbers():
    """Streams that lie two apart are those of a layer's directions."""
    rates = dict.fromkeys(["dropout", "recurrent_dropout", "head_dropout"], 0.1)
    streams = []
    for link in transcription_network(
        3, 3, num_layers=3, masked_steps=(1, 0.5), masked_features=(0, 0.0), **rates
    ).links:
        if isinstance(link, Recurrent):
            streams += [link.stream, link.stream + 2]
        elif hasattr(link, "stream"):
            streams.append(link.stream)
    assert len(set(streams)) == len(streams) == 6 + 2 + 1 + 1

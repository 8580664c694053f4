"""The network of transcribers: gradients, a GPU's, what it answers, training, and what it refuses."""

from itertools import product

import gpu
import numpy as np
import pytest
from passes import check_gradients, random_weights, trained
from test_ctc import Problem, needed

from skrnn import backends, inference, losses
from skrnn.history import Progress
from skrnn.labelling import BestPath
from skrnn.links import CTC, Dense, Masks, Recurrent, Stretches
from skrnn.network import Network
from skrnn.optimizers import SetUp
from skrnn.recipe import transcription_network
from skrnn.sequences import TOKEN, Sequences, Targets
from skrnn.training import Data, Diverged, Settings, Trainer

FLOAT, LOSS = np.dtype(np.float64), losses.multiclass_log_loss
ON_GPU = pytest.param("cuda", marks=gpu.needs_gpu)
F = 3
LABELS = [[1, 2], [3, 3], [], [2]]
X = Sequences.from_arrays(list(np.split(np.random.default_rng(0).standard_normal((17, F)), [5, 9, 11])))
Y = Targets.of_tokens(LABELS)
MASKED = {"masked_steps": (1, 0.5), "masked_features": (1, 0.7)}
OPTIONS = {
    "rnn": {"cell": "rnn"},
    "lstm": {"cell": "lstm", "num_layers": 2, "dropout": 0.3, "head_dropout": 0.2},
    "gru": {"cell": "gru", "recurrent_dropout": 0.3},
    "one direction": {"cell": "gru", "bidirectional": False, "reset_after": False},
}


def links_of(options, device="cpu"):
    given = {"hidden_size": 3, "dtype": FLOAT, "device": device} | MASKED | options
    return lambda backend: transcription_network(F, 3, **given).links


def masks_above(backend):
    """Masks that gradients have to pass."""
    return [
        Dense(backend, FLOAT, "below", {"below": ("X", F)}, 6),
        Masks("masked", "below", 6, Stretches(2, 0.4), Stretches(1, 0.5), stream=9),
        Recurrent(backend, FLOAT, "states", "masked", "_l0", "gru", 6, 3),
        Dense(backend, FLOAT, "out", {"head": ("states", 3)}, 4),
        CTC("ctc", "out", 4),
    ]


@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_are_central_differences(options):
    links = links_of(OPTIONS[options])
    assert type(links(backends.get("cpu"))[0]) is Masks
    w = np.array([1.0, 2.0, 0.5, 1.0])
    check_gradients(links, random_weights(links, F), X, Y, loss=LOSS, dropout_seed=5, w=w)


def test_gradients_through_masks_are_central_differences():
    gradients = check_gradients(masks_above, random_weights(masks_above, F), X, Y, loss=LOSS, dropout_seed=5)
    assert np.abs(gradients["below.weight"]).max() > 0


@pytest.mark.parametrize("dropout_seed", [None, 5])
@pytest.mark.parametrize("device", [ON_GPU])
def test_networks_of_both_backends_agree(device, dropout_seed):
    for options in OPTIONS["rnn"], OPTIONS["lstm"], None:
        made = [masks_above] * 2 if options is None else [links_of(options, on) for on in ("cpu", device)]
        weights = random_weights(made[0], F)
        value, gradients = trained(made[0], weights, X, Y, loss=LOSS, dropout_seed=dropout_seed)
        other, others = trained(made[1], weights, X, Y, loss=LOSS, dropout_seed=dropout_seed, device=device)
        np.testing.assert_allclose(other, value, rtol=1e-10)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(others[name], gradient, rtol=0, atol=1e-10, err_msg=name)


# --- what a network answers -------------------------------------------------------------------------
@pytest.mark.parametrize("device", ["cpu", ON_GPU])
@pytest.mark.parametrize("options", ["lstm", "one direction"])
def test_what_a_network_answers(options, device):
    """Scores of each step, without masks, and log probabilities of label sequences."""
    links = links_of(OPTIONS[options], device)
    weights = random_weights(links_of(OPTIONS[options]), F)
    with backends.turn(device):
        network = Network(F, links(backends.get(device)), dtype=FLOAT, device=device)
        params = network.pack(weights)
        states, _ = inference.run(network, params, X, wanted="states")
        scores, _ = inference.run(network, params, X)
        log_p, _ = inference.run(network, params, X, log_prob=Y)
        some, _ = inference.run(network, params, X.take([2, 0]), log_prob=Y.take([2, 0]))
    np.testing.assert_allclose(scores, states @ weights["head.weight"].T + weights["head.bias"], atol=1e-12)
    problem = Problem(4, LABELS, [0] * 4)
    problem.lengths, problem.s = X.lengths, scores
    assert log_p.shape == (4, 1)
    np.testing.assert_allclose(log_p, -problem.run()["losses"], rtol=1e-12)
    np.testing.assert_array_equal(some, log_p[[2, 0]])
    assert network.whole
    assert not network.return_sequences


def test_log_probabilities_sum_to_one():
    """Of all label sequences that four steps can say."""
    network = transcription_network(F, 2, cell="gru", hidden_size=3, dtype=FLOAT)
    params = network.pack(network.parameters.initial(np.random.RandomState(0)))
    texts = [text for n in range(5) for text in product((1, 2), repeat=n) if needed(text) <= 4]
    sequences = Sequences.from_arrays([np.ones((4, F))]).take([0] * len(texts))
    log_p, _ = inference.run(network, params, sequences, log_prob=Targets.of_tokens(texts))
    np.testing.assert_allclose(np.exp(log_p).sum(), 1, rtol=1e-12)


# --- training ---------------------------------------------------------------------------------------
def spoken(n=24, seed=0):
    """Labels 1 to 3, of two to four noisy steps each, and silence between."""
    rng, texts, arrays = np.random.default_rng(seed), [], []
    for _ in range(n):
        labels = rng.integers(1, 4, rng.integers(0, 5))
        steps = [0] + [k for label in labels for k in [label] * rng.integers(2, 5) + [0]]
        arrays.append(np.eye(4)[steps][:, 1:] + 0.1 * rng.standard_normal((len(steps), 3)))
        texts.append(labels)
    return Sequences.from_arrays(arrays), texts


def trainer(sequences, y, w=None, max_iter=30, **options):
    network = transcription_network(F, 3, cell="gru", hidden_size=12, dtype=FLOAT, **options)
    optimizer = network.backend.Optimizer(SetUp(
        "adam", network.parameters.decay_ranges, network.size, FLOAT, alpha=0.0, momentum=0.9, nesterov=True,
        beta_1=0.9, beta_2=0.999, epsilon=1e-8, max_norm=None,
    ))  # fmt: skip
    settings = Settings(8, "constant", 0.03, 0, None, None, max_iter, True, 0.0, 99, False)
    return Trainer(
        network, network.pack(network.parameters.initial(np.random.RandomState(0))), optimizer, LOSS,
        settings, np.random.RandomState(0), 7, Data(sequences, y, w),
    )  # fmt: skip


@pytest.mark.parametrize("masks", [{}, {"masked_steps": (1, 0.1), "masked_features": (1, 0.34)}])
def test_it_learns(masks):
    sequences, texts = spoken()
    learner, progress = trainer(sequences, Targets.of_tokens(texts), **masks), Progress()
    learner.fit(progress)
    found = progress.columns["loss"]
    assert found[-1] < (0.3 if masks else 0.05) * found[0]
    new, spoken_there = spoken(seed=1)
    scores = new.split(learner.predict(new))
    right = [np.array_equal(BestPath().read(own)[0], text) for own, text in zip(scores, spoken_there)]
    assert np.mean(right) > 0.9


def test_what_no_path_says_stops_training():
    sequences, texts = spoken(8)
    texts[3] = np.tile([1, 2], 40)
    with pytest.raises(Diverged, match="The loss is not finite any more"):
        trainer(sequences, Targets.of_tokens(texts), max_iter=1).fit(Progress())
    w, progress = np.ones(8), Progress()
    w[3] = 0.0
    trainer(sequences, Targets.of_tokens(texts), w, max_iter=2).fit(progress)
    assert np.isfinite(progress.columns["loss"]).all()


def test_scores_that_training_has_spoilt_are_seen():
    sequences, texts = spoken(8)
    learner = trainer(sequences, Targets.of_tokens(texts), max_iter=1)
    learner.fit(Progress())
    learner.check()
    learner.params[:] = np.nan
    with pytest.raises(Diverged, match="The output is not finite"):
        learner.check()


# --- what is refused --------------------------------------------------------------------------------
def test_targets_of_different_lengths():
    y = Targets.of_tokens([[3, 1], [], [2]])
    assert y.values.dtype == TOKEN
    assert len(y) == 3
    taken = y.take([2, 0, 1])
    texts = [taken.values[at : at + n, 0].tolist() for at, n in zip(taken.at, taken.lengths)]
    assert texts == [[2], [3, 1], []]
    assert len(Targets.of_tokens([])) == 0
    values, at = np.ones((4, 1), TOKEN), np.array([0, 2], np.intp)
    with pytest.raises(ValueError, match="reads outside of the 4 rows"):
        Targets(values, at, lengths=np.array([4, 3]))
    with pytest.raises(ValueError, match="reads outside"):
        Targets(values, at, lengths=np.array([-1, 1]))
    with pytest.raises(ValueError, match="need `at`"):
        Targets(values, lengths=np.array([1, 1, 1, 1]))
    for wrong, lengths in (values, np.array([1])), (values.astype(FLOAT), np.array([1, 1])):
        with pytest.raises(ValueError, match="different lengths are tokens, and lengths"):
            Targets(wrong, at, lengths=lengths)


@pytest.mark.parametrize(
    "y",
    [
        Targets.of_tokens([[1, 0], [3], [], [2]]),
        Targets.of_tokens([[1, 2], [3], [], [4]]),
        Targets.of_tokens([[1, 2], [-1], [], [1]]),
        Targets(np.ones((4, 1), TOKEN)),
        Targets(np.ones((4, 1), TOKEN), np.arange(4)),
        Targets(np.ones((4, 1))),
    ],
    ids=["blank", "too large", "negative", "without lengths", "single ones", "numbers"],
)
def test_targets_that_are_none(y):
    links = links_of({})
    weights = random_weights(links, F)
    with pytest.raises(ValueError, match="the targets of a CTC are sequences of labels 1 to 3"):
        trained(links, weights, X, y, loss=LOSS)
    network = Network(F, links(backends.get("cpu")), dtype=FLOAT)
    with pytest.raises(ValueError, match="sequences of labels 1 to 3"):
        inference.run(network, network.pack(weights), X, log_prob=y)


def test_the_loss_is_the_log_loss():
    links = links_of({})
    for loss in losses.squared_error, losses.smoothed_log_loss(0.1):
        with pytest.raises(ValueError, match="the loss of a CTC is the log loss, got"):
            trained(links, random_weights(links, F), X, Y, loss=loss)

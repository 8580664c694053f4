"""Training on CUDA against the CPU's: losses, solvers, truncation, weights; memory, errors and turns."""

import gc
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
from gpu import needs_gpu

from skrnn import backends, losses
from skrnn.history import Progress
from skrnn.inference import Stepper, run
from skrnn.optimizers import SetUp
from skrnn.recipe import recurrent_network
from skrnn.sequences import Sequences, Targets
from skrnn.training import Data, Diverged, Settings, Trainer

pytestmark = needs_gpu

RAGGED = [3, 5, 1, 2, 4]
SETTINGS = {
    "batch_size": 3, "learning_rate": "cosine", "learning_rate_init": 0.01, "warmup_steps": 2,
    "max_grad_norm": 1.0, "tbptt_steps": None, "max_iter": 2, "shuffle": True, "tol": 0.0,
    "n_iter_no_change": 10, "early_stopping": False,
}  # fmt: skip
HYPER = {
    "alpha": 1e-2, "momentum": 0.9, "nesterov": True, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8,
    "max_norm": 1.0,
}  # fmt: skip


def data(lengths=RAGGED, *, per_step=False, n_y=2, kind="normal", weights=True, dtype=np.float64):
    rng = np.random.default_rng(0)
    sequences = Sequences.from_arrays([rng.standard_normal((n, 2)).astype(dtype) for n in lengths])
    n = len(sequences.values) if per_step else len(lengths)
    y = {
        "normal": rng.standard_normal((n, n_y)),
        "counts": rng.integers(0, 4, (n, n_y)),
        "classes": rng.integers(0, 3, (n, 1)),
        "binary": rng.integers(0, 2, (n, n_y)),
        "unknown": np.where(rng.random((n, n_y)) < 0.4, np.nan, rng.standard_normal((n, n_y))),
    }[kind]
    return Data(sequences, Targets(y.astype(dtype)), rng.random(n).astype(dtype) if weights else None)


def trainer(
    device, data, loss=losses.squared_error, *, n_raw=2, per_step=False, solver="adam", settings=SETTINGS,
    hyper=HYPER, dtype=np.float64, **options,
):  # fmt: skip
    options = {"cell": "lstm", "hidden_size": 3} | options
    network = recurrent_network(2, n_raw, dtype=dtype, device=device, return_sequences=per_step, **options)
    params = network.pack(network.parameters.initial(np.random.RandomState(0)))
    optimizer = network.backend.Optimizer(
        SetUp(solver, network.parameters.decay_ranges, network.size, network.dtype, **hyper)
    )
    return Trainer(network, params, optimizer, loss, Settings(**settings), np.random.RandomState(0), 7, data)


def fitted(device, *args, **kwargs):
    """Weights, moments and history after a fit, as arrays."""
    with backends.turn(device):
        t, progress = trainer(device, *args, **kwargs), Progress()
        t.fit(progress)
        arrays = t.network.unpack(t.params)
        arrays |= {f"m of {name}": array for name, array in t.network.unpack(t.optimizer.m).items()}
        arrays |= {f"v of {name}": array for name, array in t.network.unpack(t.optimizer.v).items()}
        for name in "loss", "gradient_norm", "learning_rate":
            arrays[name] = np.array(progress.columns[name])
        return arrays | {"n_steps": t.optimizer.n_steps}


def check(*args, tolerance=1e-10, **kwargs):
    expected, found = fitted("cpu", *args, **kwargs), fitted("cuda", *args, **kwargs)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(
            found[name], array, rtol=0, atol=tolerance * max(1, np.abs(array).max()), err_msg=name
        )


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd", "rmsprop"])
def test_solvers(solver):
    check(data(), solver=solver)


def test_without_clipping_nor_momentum():
    check(data(), solver="sgd", hyper=HYPER | {"max_norm": None, "momentum": 0.0, "nesterov": False})


@pytest.mark.parametrize(
    ("loss", "kind", "n_y", "n_raw"),
    [
        (losses.squared_error, "normal", 2, 2),
        (losses.absolute_error, "normal", 2, 2),
        (losses.huber(0.5), "normal", 2, 2),
        (losses.poisson, "counts", 2, 2),
        (losses.quantile([0.1, 0.5, 0.8, 0.9]), "normal", 2, 8),
        (losses.multiclass_log_loss, "classes", 1, 3),
        (losses.binary_log_loss, "binary", 2, 2),
        (losses.squared_error, "unknown", 2, 2),
        (losses.quantile([0.1, 0.5]), "unknown", 2, 4),
    ],
    ids=lambda x: getattr(x, "name", None),
)
def test_losses(loss, kind, n_y, n_raw):
    check(data(kind=kind, n_y=n_y), loss, n_raw=n_raw, cell="rnn")


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "dropout": 0.3, "recurrent_dropout": 0.3}], ids=str
)
def test_truncated(per_step, options):
    """Chunks without a target are only read for their states."""
    check(
        data(per_step=per_step),
        per_step=per_step,
        settings=SETTINGS | {"tbptt_steps": 2},
        cell="gru",
        **options,
    )


@pytest.mark.parametrize("tbptt_steps", [None, 2])
@pytest.mark.parametrize(
    "cell", [{"cell": "lstm"}, {"cell": "gru"}, {"cell": "gru", "reset_after": False}], ids=str
)
def test_a_launch_for_each_step(cell, tbptt_steps, monkeypatch):
    """With minibatches of fewer sequences and steps than there is room for."""
    monkeypatch.setattr("skrnn.backends.cuda.tiles.plan", lambda *args: None)
    settings = SETTINGS | {"tbptt_steps": tbptt_steps, "batch_size": 2}
    check(data(), settings=settings, recurrent_dropout=0.3, **cell)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_truncated_and_pooled(pooling):
    check(data(), settings=SETTINGS | {"tbptt_steps": 2}, pooling=pooling)


def test_no_weights_and_single_precision():
    check(data(weights=False, dtype=np.float32), dtype=np.float32, tolerance=1e-5)


def test_minibatches_without_a_weight():
    """They do not learn, and take no part in what is averaged."""
    some = data([2, 3, 2, 3, 2, 3])
    some.w[:3] = 0
    check(some, settings=SETTINGS | {"shuffle": False})


def test_targets_of_several_steps_and_scaled_ones():
    """As windows have them: stretches of one series, each scaled by its own numbers."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((12, 2))
    starts, n = np.arange(5), 5
    scaling = {"shift": rng.standard_normal((n, 2)), "scale": rng.random((n, 2)) + 0.5}
    sequences = Sequences(values, starts, np.full(n, 4), **scaling)
    y_scaling = {name: np.ascontiguousarray(array[:, :1]) for name, array in scaling.items()}
    y = Targets(np.ascontiguousarray(values[:, :1]), starts + 4, 3, **y_scaling)
    check(Data(sequences, y, None), n_raw=3)


def test_a_linear_skip():
    check(data([3, 3, 3, 3]), skip_steps=3, cell="gru")


# --- when it goes wrong ---------------------------------------------------------------------------
def test_divergence_leaves_the_parameters_as_they_were():
    bad = data()
    bad.y.values[2] = np.inf
    with backends.turn("cuda"):
        t = trainer("cuda", bad, settings=SETTINGS | {"batch_size": 5, "max_iter": 1})
        before = t.network.backend.to_host(t.params)
        with pytest.raises(Diverged, match="loss"):
            t.epoch(0, lambda done: 0.1)
        np.testing.assert_array_equal(t.network.backend.to_host(t.params), before)
        assert t.optimizer.n_steps[0] == 0


def test_what_follows_a_divergence_is_left_out():
    """All minibatches of an epoch have been started by then."""
    bad = data([2] * 6)
    bad.y.values[2] = np.inf
    with backends.turn("cuda"):
        t = trainer("cuda", bad, settings=SETTINGS | {"batch_size": 2, "shuffle": False})
        with pytest.raises(Diverged):
            t.epoch(0, lambda done: 0.1)
        assert t.optimizer.n_steps[0] == 1
        assert t.jobs.cursor[0] == 1
        assert not np.isfinite(t.statistics[1]).all()


@pytest.fixture
def small_device(monkeypatch):
    """A function that lets a turn have so many bytes."""
    from skrnn.backends.cuda import turns

    device = turns.find(0)
    allocate = device._allocate

    def limit(n_bytes):
        def bounded(size, dtype):
            if size and device.asked > n_bytes:
                raise MemoryError
            return allocate(size, dtype)

        monkeypatch.setattr(device, "_allocate", bounded)

    return limit


def test_too_little_memory(small_device):
    """The message says how much all of it needs, and a fit does not begin."""
    from skrnn.backends.cuda import turns

    def epoch():
        with backends.turn("cuda"):
            t = trainer("cuda", data([50] * 20), hidden_size=100)
            t.epoch(0, lambda done: 0.1)

    def recorded():
        with backends.turn("cuda"):
            trainer("cuda", data([50] * 20), hidden_size=100)
            return turns.find(0).asked

    needed = recorded()
    assert needed > 2**20
    for limit in 100, 20_000, needed // 2, needed - 1:
        small_device(limit)
        with pytest.raises(MemoryError, match=f"{needed / 2**20:,.0f} MiB.*batch_size.*tbptt_steps"):
            epoch()
    small_device(needed)
    assert recorded() == needed


def test_too_little_memory_for_a_stream(small_device):
    """It is recorded in one turn and runs in others."""

    def stepper():
        with backends.turn("cuda"):
            network = recurrent_network(2, 1, hidden_size=40, device="cuda")
            return Stepper(network, network.pack(network.parameters.initial(np.random.RandomState(0))), 3)

    for limit in 100, 8_000:
        small_device(limit)
        with pytest.raises(MemoryError, match="MiB"):
            stepper()


def test_too_little_memory_for_an_answer_on_the_device(small_device):
    some = data()
    with backends.turn("cuda"):
        network = recurrent_network(2, 2, cell="rnn", dtype=np.float64, device="cuda")
        params = network.pack(network.parameters.initial(np.random.RandomState(0)))
        values = network.backend.to_device(some.sequences.values.ravel()).reshape(-1, 2)
    small_device(100)
    with pytest.raises(MemoryError, match="MiB"), backends.turn("cuda"):
        run(network, params, replace(some.sequences, values=values), wanted="states")


def test_a_turn_within_a_turn_has_its_own_account(small_device):
    """A prediction of a callback that needs too much is no failure of the fit."""
    small_device(100_000)
    with backends.turn("cuda"):
        t = trainer("cuda", data())
        with pytest.raises(MemoryError), backends.turn("cuda"):
            backends.get("cuda").aligned(1_000_000, np.dtype(np.float64))
        t.epoch(0, lambda done: 0.1)


def test_memory_goes_back_at_once():
    """And not when Python next looks for cycles: other processes are waiting for it."""
    gc.collect()
    gc.disable()
    try:
        with backends.turn("cuda"):
            t = trainer("cuda", data())
            t.fit(Progress())
            seen = weakref.ref(t.tape)
            del t
            assert seen() is None
    finally:
        gc.enable()


def test_only_in_a_turn():
    with pytest.raises(RuntimeError, match=r"backends\.turn"):
        backends.get("cuda").Tape()


def test_no_such_device():
    with pytest.raises(backends.Unavailable, match="no GPU number 99"), backends.turn("cuda:99"):
        pass


def test_no_bfloat16():
    with backends.turn("cuda"), pytest.raises(ValueError, match="bfloat16"):
        recurrent_network(1, 1, device="cuda", dtype="bfloat16")


def test_threads_take_turns():
    """And a thread that has its turn may take another inside of it."""
    inside, most = 0, []

    def use():
        nonlocal inside
        with backends.turn("cuda"), backends.turn("cuda"):
            inside += 1
            most.append(inside)
            fitted("cuda", data([2, 1]), settings=SETTINGS | {"max_iter": 1})
            inside -= 1

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]

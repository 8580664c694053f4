"""Losses: gradients, weights, links and extreme inputs."""

import numpy as np
import pytest
import reference
from passes import loss_of
from sklearn import metrics

from skrnn import losses

LEVELS = {"three": [0.1, 0.5, 0.9], "low": [0.01, 0.1, 0.3], "high": [0.6, 0.95], "one": [0.7]}
LOSSES = {
    "squared_error": losses.squared_error,
    "absolute_error": losses.absolute_error,
    "huber": losses.huber(1.0),
    "poisson": losses.poisson,
    "log_loss_multiclass": losses.multiclass_log_loss,
    "log_loss_multiclass, smoothed": losses.smoothed_log_loss(0.2),
    "log_loss_multilabel": losses.binary_log_loss,
    **{f"quantile-{name}": losses.quantile(levels) for name, levels in LEVELS.items()},
}
N_OUT = 3


def problem(name, rng, M=12, n_outputs=N_OUT, scale=1.5):
    """Raw outputs and targets that lie on no kink."""
    multiclass = name.startswith("log_loss_multiclass")
    raw = scale * rng.standard_normal((M, 4 if multiclass else LOSSES[name].n_raw(n_outputs)))
    if multiclass:
        return raw, rng.integers(0, 4, (M, 1)).astype(float)
    if name == "log_loss_multilabel":
        return raw, rng.integers(0, 2, (M, n_outputs)).astype(float)
    if name == "poisson":
        return raw, rng.poisson(2, (M, n_outputs)).astype(float)
    return raw, scale * rng.standard_normal((M, n_outputs))


def value(loss, raw, y, w):
    total, weight, _ = loss_of(loss, raw, y, w)
    return total / weight


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_central_differences(name, n_outputs, weighted):
    rng = np.random.default_rng(0)
    raw, y = problem(name, rng, n_outputs=n_outputs)
    w = rng.integers(0, 3, len(y)).astype(float) if weighted else None
    gradient = loss_of(LOSSES[name], raw, y, w)[2]
    expected = reference.central_differences(lambda: value(LOSSES[name], raw, y, w), raw)
    assert gradient.shape == raw.shape
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)
    assert np.abs(gradient).max() > 1e-3


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "name", [name for name in LOSSES if "quantile" not in name and "smoothed" not in name]
)
def test_value_is_the_references(name, weighted):
    rng = np.random.default_rng(1)
    raw, y = problem(name, rng)
    w = rng.uniform(0, 2, len(y)) if weighted else None
    expected = reference.losses(name, raw, y[:, 0] if name == "log_loss_multiclass" else y, w)
    np.testing.assert_allclose(value(LOSSES[name], raw, y, w), expected, rtol=1e-13)


def test_smoothed_targets_are_partly_of_every_class():
    raw, y = problem("log_loss_multiclass", np.random.default_rng(1))
    w = np.random.default_rng(2).uniform(0, 2, len(y))
    of_each = [reference.losses("log_loss_multiclass", raw, np.full(len(y), k), w) for k in range(4)]
    expected = 0.8 * reference.losses("log_loss_multiclass", raw, y[:, 0], w) + 0.2 * np.mean(of_each)
    np.testing.assert_allclose(value(losses.smoothed_log_loss(0.2), raw, y, w), expected, rtol=1e-13)
    assert losses.smoothed_log_loss(0.0) is losses.multiclass_log_loss


# --- scikit-learn's metrics -----------------------------------------------------------------------
@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_scikit_learns(weighted):
    rng = np.random.default_rng(2)
    M = 40
    w = rng.uniform(0, 2, M) if weighted else None

    def ours(name, n_outputs=N_OUT):
        raw, y = problem(name, rng, M, n_outputs)
        return LOSSES[name].link(raw), y, value(LOSSES[name], raw, y, w)

    prediction, y, loss = ours("squared_error")
    assert np.isclose(loss, metrics.mean_squared_error(y, prediction, sample_weight=w), rtol=1e-12)
    prediction, y, loss = ours("absolute_error")
    assert np.isclose(loss, metrics.mean_absolute_error(y, prediction, sample_weight=w), rtol=1e-12)

    # Poisson's deviance is 2 (rate - y log rate - y + y log y), the loss its first two terms.
    rate, y, loss = ours("poisson", 1)
    constant = np.average(-y + y * np.log(np.where(y > 0, y, 1)), weights=w, axis=0)[0]
    deviance = metrics.mean_poisson_deviance(y[:, 0], rate[:, 0], sample_weight=w)
    assert np.isclose(2 * (loss + constant), deviance, rtol=1e-12)

    probabilities, y, loss = ours("log_loss_multiclass")
    expected = metrics.log_loss(y[:, 0], probabilities, sample_weight=w, labels=np.arange(4))
    assert np.isclose(loss, expected, rtol=1e-12)
    probability, y, loss = ours("log_loss_multilabel", 1)
    expected = metrics.log_loss(y[:, 0], probability[:, 0], sample_weight=w)
    assert np.isclose(loss, expected, rtol=1e-12)
    probability, y, loss = ours("log_loss_multilabel")
    columns = [metrics.log_loss(a, b, sample_weight=w) for a, b in zip(y.T, probability.T)]
    assert np.isclose(loss, np.mean(columns), rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("levels", LEVELS)
def test_quantile_loss_is_the_mean_pinball_loss(levels, weighted):
    rng, name = np.random.default_rng(3), f"quantile-{levels}"
    raw, y = problem(name, rng, 40)
    w = rng.uniform(0, 2, 40) if weighted else None
    quantiles = LOSSES[name].link(raw)
    expected = np.mean([
        metrics.mean_pinball_loss(y, quantiles[:, :, k], alpha=level, sample_weight=w)
        for k, level in enumerate(LEVELS[levels])
    ])  # fmt: skip
    np.testing.assert_allclose(value(LOSSES[name], raw, y, w), expected, rtol=1e-12)
    # The D^2 score is 1 - loss / loss of the constant quantile.
    constant = np.quantile(y[:, :1], LEVELS[levels][0], method="inverted_cdf")
    if not weighted:
        arguments = dict(alpha=LEVELS[levels][0])
        score = metrics.d2_pinball_score(y[:, 0], quantiles[:, 0, 0], **arguments)
        losses_ = [
            metrics.mean_pinball_loss(y[:, 0], p, **arguments)
            for p in (quantiles[:, 0, 0], np.full(40, constant))
        ]
        np.testing.assert_allclose(score, 1 - losses_[0] / losses_[1], rtol=1e-6)


def test_a_constant_minimises_its_loss():
    """What each loss estimates: mean, median, the levels' quantiles, the log of the mean."""
    rng = np.random.default_rng(4)
    y = rng.gamma(2.0, 1.5, (1001, 1))

    def slope(loss, raw):
        return loss_of(loss, np.full((1001, 1), raw), y, None)[2].sum()

    assert abs(slope(losses.squared_error, y.mean())) < 1e-12
    assert abs(slope(losses.absolute_error, np.median(y))) < 1e-12
    assert abs(slope(losses.poisson, np.log(y.mean()))) < 1e-12
    for level in (0.1, 0.8):
        loss, at = losses.quantile([level]), np.quantile(y, level)
        assert slope(loss, at - 0.01) < 0 < slope(loss, at + 0.01)


# --- weights --------------------------------------------------------------------------------------
@pytest.mark.parametrize("target", [np.nan, np.inf, 1e30, -7.0])
@pytest.mark.parametrize("name", LOSSES)
def test_rows_of_weight_zero_take_no_part(name, target):
    rng = np.random.default_rng(5)
    raw, y = problem(name, rng)
    w = rng.uniform(0.5, 2, len(y))
    w[[2, 7]] = 0
    used = w > 0
    total, weight, gradient = loss_of(LOSSES[name], raw[used], y[used], w[used])
    y[~used] = target
    with_unlabelled = loss_of(LOSSES[name], raw, y, w)
    np.testing.assert_allclose(with_unlabelled[0], total, rtol=1e-13)
    assert with_unlabelled[1] == pytest.approx(weight, rel=1e-15)
    np.testing.assert_array_equal(with_unlabelled[2][~used], 0)
    np.testing.assert_allclose(with_unlabelled[2][used], gradient, rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_weights_are_repeats(name):
    rng = np.random.default_rng(6)
    raw, y = problem(name, rng)
    w = rng.integers(0, 4, len(y))
    repeated = np.repeat(np.arange(len(y)), w)
    total, weight, gradient = loss_of(LOSSES[name], raw, y, w.astype(float))
    expected = loss_of(LOSSES[name], raw[repeated], y[repeated], None)
    np.testing.assert_allclose((total, weight), expected[:2], rtol=1e-12)
    summed = np.zeros_like(raw)
    np.add.at(summed, repeated, expected[2])
    np.testing.assert_allclose(gradient, summed, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_no_weight_at_all(name):
    raw, y = problem(name, np.random.default_rng(7))
    total, weight, gradient = loss_of(LOSSES[name], raw, y, np.zeros(len(y)))
    assert (total, weight) == (0.0, 0.0)
    np.testing.assert_array_equal(gradient, np.zeros_like(raw))


# --- precision and extremes -----------------------------------------------------------------------
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_float32_stays_float32(name, weighted):
    rng = np.random.default_rng(8)
    raw, y = problem(name, rng)
    w = rng.uniform(0, 2, len(y)).astype(np.float32) if weighted else None
    expected = loss_of(LOSSES[name], raw, y, w)
    total, _, gradient = loss_of(LOSSES[name], raw.astype(np.float32), y.astype(np.float32), w)
    assert gradient.dtype == np.float32
    assert LOSSES[name].link(raw.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(total, expected[0], rtol=1e-6)
    np.testing.assert_allclose(gradient, expected[2], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("scale", [1e4, 1e30])
@pytest.mark.parametrize("name", LOSSES)
def test_extreme_raw_outputs(name, scale):
    """Finite where the true value is, otherwise infinite; never NaN, never a warning."""
    rng = np.random.default_rng(9)
    _, y = problem(name, rng)
    n_raw = 4 if name.startswith("log_loss_multiclass") else LOSSES[name].n_raw(N_OUT)
    raw = (scale * rng.choice([-1.0, 1.0], (len(y), n_raw))).astype(np.float32)
    total, weight, gradient = loss_of(LOSSES[name], raw, y.astype(np.float32), None)
    too_large = {"squared_error": scale > 1e19, "poisson": True}.get(name, False)
    assert not np.isnan(total)
    assert np.isinf(total) == too_large
    if name != "poisson":
        assert np.isfinite(gradient).all()
    link = LOSSES[name].link(raw)
    assert not np.isnan(link).any()
    if name.startswith("log_loss"):
        assert ((link >= 0) & (link <= 1)).all()


@pytest.mark.parametrize("name", LOSSES)
def test_nan_is_passed_on(name):
    """Training stops at a loss that is not finite: no loss may swallow a NaN."""
    raw, y = problem(name, np.random.default_rng(10))
    raw[3, -1] = np.nan
    assert not np.isfinite(loss_of(LOSSES[name], raw, y, None)[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities(dtype):
    rng = np.random.default_rng(11)
    scales = [1e-3, 1, 30, 1e4, 1e30]
    for raw in (scale * rng.standard_normal((50, 7)) for scale in scales):
        raw = raw.astype(dtype)
        p = losses.multiclass_log_loss.link(raw)
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=4 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(p.argmax(axis=1), raw.argmax(axis=1))
        q = losses.binary_log_loss.link(raw)
        np.testing.assert_allclose(q + losses.binary_log_loss.link(-raw), 1, rtol=1e-6)
        assert not (np.diff(q.ravel()[np.argsort(raw.ravel())]) < 0).any()


@pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quantiles_never_cross(dtype, levels):
    rng, loss = np.random.default_rng(12), losses.quantile(levels)
    for scale in (1e-3, 1, 30, 1e4):
        raw = (scale * rng.standard_normal((200, 2 * len(levels)))).astype(dtype)
        quantiles = loss.link(raw)
        assert quantiles.shape == (200, 2, len(levels))
        assert (np.diff(quantiles, axis=2) >= 0).all()
        middle = losses.nearest_to_median(levels)
        np.testing.assert_array_equal(quantiles[:, :, middle], raw.reshape(200, 2, -1)[:, :, middle])


def test_nearest_to_median():
    assert losses.nearest_to_median([0.1, 0.5, 0.9]) == 1
    assert losses.nearest_to_median([0.4, 0.6]) == 0  # the lower of two
    assert losses.nearest_to_median([0.1, 0.3, 0.7, 0.95]) == 1
    assert losses.nearest_to_median([0.9, 0.99]) == 0
    assert losses.nearest_to_median([0.2]) == 0


def test_huber_between_its_limits():
    rng = np.random.default_rng(13)
    raw, y = rng.standard_normal((50, 1)), rng.standard_normal((50, 1))
    squared, absolute = (
        value(loss, raw, y, None) for loss in (LOSSES["squared_error"], LOSSES["absolute_error"])
    )
    assert np.isclose(value(losses.huber(1e6), raw, y, None), squared / 2)
    assert np.isclose(value(losses.huber(1e-9), raw, y, None), 1e-9 * absolute)


NUMBERS = [name for name in LOSSES if not name.startswith("log_loss")]


@pytest.mark.parametrize("n_outputs", [1, 4])
@pytest.mark.parametrize("name", NUMBERS)
def test_targets_that_are_not_known(name, n_outputs):
    """NaN counts for nothing: the mean is over the others, and their share is a fair weight."""
    rng, loss = np.random.default_rng(0), LOSSES[name]
    raw, y = problem(name, rng, n_outputs=n_outputs)
    known = rng.random(y.shape) < 0.6
    known[0], known[1] = False, True
    w, each = known.mean(axis=1), raw.shape[1] // n_outputs
    total, weight, gradient = loss_of(loss, raw, np.where(known, y, np.nan), w)
    # Every number by itself, as a row of one output.
    alone = raw.reshape(-1, each)[known.ravel()]
    expected, count, gradients = loss_of(loss, alone, y[known][:, None], None)
    np.testing.assert_allclose(total / weight, expected / count, rtol=1e-12)
    gradient = gradient.reshape(-1, each)
    np.testing.assert_allclose(gradient[known.ravel()], gradients, rtol=1e-12)
    assert not gradient[~known.ravel()].any()

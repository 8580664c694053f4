import numpy as np
import pandas as pd
import pytest

from skrnn.forecasting.frames import read_panel
from skrnn.forecasting.scaling import SCALES, Transform, fit_scale


def panel_of(lengths=(30, 50), seed=0, n_targets=1, low=0.5):
    rng = np.random.default_rng(seed)
    if n_targets > 1:
        frame = pd.DataFrame(rng.uniform(low, 9, (lengths[0], n_targets)), columns=list("uvw")[:n_targets])
        return read_panel(frame, multivariate=True)
    parts = [
        pd.DataFrame({"unique_id": f"s{i}", "ds": range(n), "y": rng.uniform(low, 9 + 90 * i, n)})
        for i, n in enumerate(lengths)
    ]
    return read_panel(pd.concat(parts))


def cut(panel, h):
    """The histories, and the values of the next h steps."""
    stops = panel.stops - h
    return panel.until(stops), panel.values[stops[:, None] + np.arange(h)]


# --- scales ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("scale", "shift", "size"),
    [
        ("standard", np.mean, np.std),
        ("robust", np.median, lambda x: np.subtract(*np.percentile(x, [75, 25]))),
        ("minmax", np.min, np.ptp),
        ("mean", lambda x: 0, lambda x: np.abs(x).mean()),
    ],
)
def test_scales_are_those_of_each_series(scale, shift, size):
    panel, _ = cut(panel_of(low=-5), 4)
    fitted = Transform(scale).fit(panel)
    parts = [panel.values[a:b, 0] for a, b in zip(panel.starts, panel.stops)]
    np.testing.assert_allclose(fitted.shift[:, 0], [shift(part) for part in parts])
    np.testing.assert_allclose(fitted.scale[:, 0], [size(part) for part in parts])
    changed = fitted.transform(panel)
    np.testing.assert_allclose(changed.values[:26, 0], (parts[0] - shift(parts[0])) / size(parts[0]))
    assert changed.stamps is panel.stamps


@pytest.mark.parametrize("scale", SCALES)
def test_constants_are_not_divided_by_zero(scale):
    values = np.repeat([[0.1, 0.0, 1e9 + 0.1]], 7, axis=0)
    shift, size = fit_scale(scale, values, np.ones(values.shape, bool), np.array([0]), np.array([7]))
    assert (size[0, :2] == 1).all() or scale == "mean"
    assert size[0, 1] == 1
    assert size[0, 2] == (1 if scale != "mean" else pytest.approx(1e9 + 0.1))
    assert np.isfinite(shift).all()


def test_robust_falls_back_where_most_values_are_the_same():
    values = np.array([[0.0]] * 9 + [[10.0]])
    _, size = fit_scale("robust", values, np.ones((10, 1), bool), np.array([0]), np.array([10]))
    assert size[0, 0] == values.std()


@pytest.mark.parametrize("scale", SCALES)
def test_only_what_was_observed_counts(scale):
    values = np.array([[1.0], [99.0], [2.0], [4.0], [np.nan]])
    observed = np.array([[True], [False], [True], [True], [True]])
    shift, size = fit_scale(scale, values, observed, np.array([0, 1]), np.array([5, 2]))
    expected = fit_scale(scale, values[[0, 2, 3]], np.ones((3, 1), bool), np.array([0]), np.array([3]))
    assert (shift[0], size[0]) == (expected[0][0], expected[1][0])
    assert (shift[1, 0], size[1, 0]) == (0, 1)  # nothing observed


def test_the_future_does_not_leak_into_the_scale():
    panel, _ = cut(panel_of(), 5)
    before = Transform("minmax", differences=(1,)).fit(panel)
    panel.values[panel.stops[0] :][:5] = 1e6
    after = Transform("minmax", differences=(1,)).fit(panel)
    assert np.array_equal(before.scale, after.scale)


# --- differences ----------------------------------------------------------------------------------
def test_differences():
    panel = panel_of()
    changed = Transform(differences=(1, 12)).fit(panel).transform(panel)
    for a, b in zip(panel.starts, panel.stops):
        once = np.diff(panel.values[a:b, 0])
        twice = once[12:] - once[:-12]
        assert np.isnan(changed.values[a : a + 13]).all()
        np.testing.assert_allclose(changed.values[a + 13 : b, 0], twice)
        assert changed.observed[a:b, 0].tolist() == [False] * 13 + [True] * (b - a - 13)
    assert not np.isnan(panel.values).any()
    assert panel.observed.all()
    fitted = Transform("minmax", differences=(12,)).fit(panel)
    ranges = [
        np.ptp(panel.values[a + 12 : b] - panel.values[a : b - 12]) for a, b in zip(panel.starts, panel.stops)
    ]
    np.testing.assert_allclose(fitted.scale[:, 0], ranges)


def test_a_difference_is_observed_where_both_values_are():
    series = pd.Series(np.arange(9.0)).where(np.arange(9) != 4)
    panel = read_panel(series, missing="mask")
    changed = Transform(differences=(2,)).fit(panel).transform(panel)
    assert np.flatnonzero(~changed.observed[:, 0]).tolist() == [0, 1, 4, 6]
    assert np.flatnonzero(~panel.observed[:, 0]).tolist() == [4]


# --- the way back ---------------------------------------------------------------------------------
@pytest.mark.parametrize("scale", [None, *SCALES])
@pytest.mark.parametrize("log1p", [False, True])
@pytest.mark.parametrize("differences", [(), (1,), (12,), (1, 12), (12, 1), (1, 1, 3)])
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("h", [1, 15])
def test_invert_undoes_transform(scale, log1p, differences, n_targets, h):
    whole = panel_of((40, 60), n_targets=n_targets)
    panel, future = cut(whole, h)
    fitted = Transform(scale, log1p, differences).fit(panel)
    learnt = fitted.transform(whole).values[panel.stops[:, None] + np.arange(h)]
    np.testing.assert_allclose(fitted.invert(learnt, panel), future, rtol=1e-9)
    quantiles = fitted.invert(np.stack([learnt, learnt + 0.1, learnt], axis=3), panel)
    np.testing.assert_allclose(quantiles[..., 0], future, rtol=1e-9)
    np.testing.assert_allclose(quantiles[..., 2], future, rtol=1e-9)
    np.testing.assert_allclose(quantiles[..., 1], fitted.invert(learnt + 0.1, panel), rtol=1e-9)
    assert (quantiles[..., 1] > future).all()


def test_invert_leaves_its_argument_and_takes_float32():
    panel, _ = cut(panel_of(), 3)
    forecast = np.zeros((2, 3, 1), np.float32)
    result = Transform("standard", differences=(1,)).fit(panel).invert(forecast, panel)
    assert (forecast == 0).all()
    assert result.dtype == np.float64


def test_some_series_with_another_history():
    panel = panel_of((30, 50, 40))
    fitted = Transform("standard", differences=(1,)).fit(panel)
    new = pd.DataFrame({"unique_id": "s2", "ds": range(3), "y": [4.0, 5, 7]})
    later = read_panel(new, like=panel)
    changed = fitted.transform(later)
    np.testing.assert_allclose(changed.values[1:, 0], (np.array([1, 2]) - fitted.shift[2]) / fitted.scale[2])
    back = fitted.invert(changed.values[None, 1:], later)
    np.testing.assert_allclose(back[0, :, 0], [8, 10])  # on from 7


# --- mistakes -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(scale="max"), "scale must be one of 'standard', 'robust', 'minmax', 'mean' or None, got 'max'"),
        (dict(differences=(1, 0)), "a lag of differences must be an integer of at least 1, got 0"),
        (dict(differences=(True,)), "got True"),
    ],
)
def test_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        Transform(**arguments)


def test_series_that_were_not_there():
    """The scale of their histories, as if they had been; that of the others stays."""
    panel, more = panel_of((30, 13)), panel_of((30, 30, 40))
    fitted, expected = (Transform("robust", differences=(1,)).fit(each) for each in (panel, more))
    changed, other = fitted.transform(more), expected.transform(more)
    np.testing.assert_array_equal(changed.values[60:], other.values[60:])
    np.testing.assert_array_equal(changed.values[:30], fitted.transform(panel).values[:30])
    assert (changed.values[31:60] != other.values[31:60]).all()
    future = np.random.default_rng(0).normal(size=(3, 4, 1))
    np.testing.assert_array_equal(fitted.invert(future, more)[2], expected.invert(future, more)[2])
    twice = fitted.transform(more.take(np.array([2, 0, 2])))
    np.testing.assert_array_equal(twice.values[-40:], other.values[60:])
    unscaled = Transform().fit(panel).transform(more)
    np.testing.assert_array_equal(unscaled.values, more.values)


def test_mistakes():
    panel = panel_of((30, 13))
    with pytest.raises(ValueError, match=r"'s1' has 13 rows, but differences=\[1, 12\] need more than 13"):
        Transform("mean", differences=(1, 12)).fit(panel)
    Transform(differences=(12,)).fit(panel).transform(panel)
    panel.values[35] = -1
    with pytest.raises(ValueError, match=r"series 's1' is -1.0 at 5; log1p needs more than -1"):
        Transform("mean", log1p=True).fit(panel)
    joint = panel_of((30,), n_targets=3)
    joint.values[7, 1] = -2
    with pytest.raises(ValueError, match=r"series 'v' is -2.0 at 7"):
        Transform("mean", log1p=True).fit(joint)

"""Covariates that change in time and are no numbers: a column of 0 and 1 for each category."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal
from spies import LAGS, H, forecaster, name_of, panel_of, spied, walk

from skrnn.forecasting import GRUForecaster
from skrnn.forecasting.frames import extend, read_panel

MODEL = "LSTMForecaster"
KINDS = np.array(["sale", "none", "gift"], dtype=object)


def shops(lengths=(40, 30)):
    """With the kind of promotion of each day, and its weather."""
    data, rng = panel_of(lengths), np.random.default_rng(3)
    data["promo"] = KINDS[rng.integers(3, size=len(data))]
    data["weather"] = pd.Categorical(rng.integers(1, 3, size=len(data)), [3, 2, 1])
    return data


ROLES = dict(futr_exog=["x", "promo"], hist_exog=["weather", "z"])


def one_hot(data):
    """By hand, those of the past only first, categories in their order."""
    parts = [data["weather"] == 2, data["weather"] == 1, data["z"], data["x"]]
    return np.stack(parts + [data["promo"] == kind for kind in sorted(KINDS)], axis=1).astype(float)


def test_columns_of_a_panel():
    """Text sorts; what a user has put into order keeps it, without what is not there."""
    data = shops()
    panel = read_panel(data, **ROLES)
    assert panel.form.exog_columns == [
        *[("weather", kind) for kind in (2, 1)], ("z", None), ("x", None),
        *[("promo", kind) for kind in ("gift", "none", "sale")],
    ]  # fmt: skip
    assert_array_equal(panel.exog, one_hot(data))
    assert_array_equal(panel.futr_exog, one_hot(data)[:, 3:])
    few = data[data["ds"] < 5].assign(promo="none")
    assert_array_equal(read_panel(few, like=panel).exog, one_hot(few))


@pytest.mark.parametrize("dtype", [object, "string", "category", str])
def test_kinds_of_text(dtype):
    data = shops()
    panel = read_panel(data.astype({"promo": dtype}), **ROLES)
    assert_array_equal(panel.exog, one_hot(data))
    model = forecaster(ROLES).fit(data.astype({"promo": dtype}))
    future = model.make_future_dataframe().assign(x=0.0, promo="sale")
    expected = forecaster(ROLES).fit(data).predict(X_df=future.astype({"promo": "category"}))
    assert_frame_equal(model.predict(X_df=future), expected)


def test_what_the_network_reads():
    """0 and 1, not in units of how often they come, nor of a window's scale; moved up by the horizon."""
    data = shops((40,)).drop(columns="weather")
    roles = dict(futr_exog="promo", scale_by="window")
    model = spied(data, **roles)
    known = one_hot(data.assign(weather=1))[:, 4:]
    table = model.regressor_.X_.reshape(-1, LAGS, 4)[:, :, 1:]
    for k, window in enumerate(table):
        assert_array_equal(window, known[k + H : k + H + LAGS])
    future = model.make_future_dataframe().assign(promo=["gift", "sale", "sale"])
    model.predict(X_df=future)
    asked = model.regressor_.asked_.reshape(LAGS, -1)[:, 1:]
    assert_array_equal(asked[-H:], [[1, 0, 0], [0, 0, 1], [0, 0, 1]])
    assert_array_equal(asked[:-H], known[-(LAGS - H) :])


def test_what_is_known_ahead_is_used():
    """Each kind of promotion is worth something of its own."""
    rng, worth = np.random.default_rng(0), {"none": 0.0, "gift": 2.0, "sale": 7.0}
    kinds = KINDS[rng.integers(3, size=160)]
    data = pd.DataFrame({"sales": 5 + 0.1 * rng.normal(size=160), "promo": kinds})
    data["sales"] += data["promo"].map(worth)
    data.index = pd.date_range("2024-01-01", periods=160)
    model = GRUForecaster(
        h=2, lags=4, max_steps=300, learning_rate_init=0.01, random_state=0, futr_exog="promo"
    )
    forecast = model.fit(data[:-2]).predict(X_df=data[-2:])
    assert np.abs(forecast["sales"] - data["sales"][-2:]).max() < 1
    other = model.predict(X_df=pd.DataFrame({"promo": ["sale", "none"]}, data.index[-2:]))
    np.testing.assert_allclose(other["sales"], [12, 5], atol=1)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"lags": None}, {"strategy": "encoder_decoder"}, {"strategy": "recursive", "hist_exog": None},
     {"missing": "mask"}, {"level": 80}],
    ids=name_of,
)  # fmt: skip
def test_all_that_a_forecaster_does(parameters):
    data = shops()
    known = data.groupby("unique_id").cumcount(ascending=False) >= H
    model = forecaster(ROLES, **parameters).fit(data[known])
    found = model.predict(X_df=data)
    moved = model.predict(X_df=data.assign(promo="none"))
    assert (found[MODEL] != moved[MODEL]).any()
    scores = model.cross_validation(data, 1)
    assert_array_equal(scores[MODEL], found[MODEL])
    assert_frame_equal(pickle.loads(pickle.dumps(model)).predict(X_df=data), found)
    later = data[~known]
    future = data.assign(ds=data["ds"] + H)
    expected = model.predict(data, X_df=future)
    assert np.isfinite(model.score(later))
    assert_frame_equal(model.update(later).predict(X_df=future), expected)


def test_a_wide_frame_shares_them():
    data = pd.DataFrame({"a": walk(), "b": walk(seed=1), "promo": KINDS[np.arange(60) % 3]})
    model = forecaster(futr_exog="promo").fit(data)
    assert model.panel_.exog.shape == (120, 3)
    found = model.predict(X_df=model.make_future_dataframe().assign(promo="gift"))
    assert found.columns.tolist() == ["a", "b"]


def test_missing_categories():
    """Refused by name, or between their neighbours."""
    data = shops((40,))
    data.loc[[7, 8], "promo"] = None
    with pytest.raises(ValueError, match="'promo' of series 's0' is NaN at 7, the first of 2 times"):
        forecaster(ROLES).fit(data)
    data.loc[[6, 9], "promo"] = ["gift", "sale"]
    panel = read_panel(data, **ROLES, missing="interpolate")
    np.testing.assert_allclose(panel.exog[7:9, 4:], [[2 / 3, 0, 1 / 3], [1 / 3, 0, 2 / 3]])
    model = forecaster(ROLES).fit(shops((40,)))
    future = model.make_future_dataframe().assign(x=0.0, promo=["gift", None, "gift"])
    with pytest.raises(ValueError, match="X_df: 'promo' of series 's0' is NaN at 41"):
        model.predict(X_df=future)


def test_other_categories():
    """The column and the value are named, and what there was."""
    data = shops()
    model = forecaster(ROLES).fit(data)
    future = model.make_future_dataframe().assign(x=0.0, promo="gift")
    expected = model.predict(X_df=future)
    message = "column 'promo' has 'coupon', which was not there in fit; there were 'gift', 'none', 'sale'"
    with pytest.raises(ValueError, match=f"X_df: {message}"):
        model.predict(X_df=future.assign(promo=["gift"] * 5 + ["coupon"]))
    other = data.assign(promo=data["promo"].where(data["ds"] != 12, "coupon"))
    with pytest.raises(ValueError, match=message):
        model.predict(other, X_df=future)
    later = other[other["ds"] == 12].assign(ds=[40, 31])
    with pytest.raises(ValueError, match=message):
        model.update(later)
    with pytest.raises(
        ValueError, match="column 'weather' has 3, which was not there in fit; there were 2, 1"
    ):
        extend(model.panel_, later.assign(promo="gift", weather=pd.Categorical([3, 3])))
    assert_frame_equal(model.predict(X_df=future), expected)


def test_what_is_no_category():
    data = shops()
    text = data.assign(promo=data["x"].round(2).astype(str))
    with pytest.raises(
        ValueError, match=r"'promo' holds numbers as text, such as '-.*pd\.to_numeric or, if they"
    ):
        forecaster(ROLES).fit(text)
    assert len(read_panel(text.astype({"promo": "category"}), **ROLES).form.categories[1][1]) > 9
    with pytest.raises(ValueError, match="column 'promo' is not numeric but datetime64"):
        forecaster(ROLES).fit(data.assign(promo=pd.Timestamp("2024-01-01")))
    model = forecaster(ROLES).fit(data)
    future = model.make_future_dataframe().assign(x="gift", promo="gift")
    with pytest.raises(ValueError, match="column 'x' is not numeric"):
        model.predict(X_df=future)

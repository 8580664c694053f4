"""Forecasters that do not hold the data they were fitted to."""

import pickle

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal
from spies import WINDOW, H, forecaster, name_of, walk

LEFT_OUT = r"histories were left out of this forecaster \(without_histories\)"
FORMS = {
    "series": walk(),
    "unnamed": walk().rename(None),
    "wide": pd.DataFrame({"a": walk(), "b": walk(seed=1)}),
    "integers": pd.Series(walk().to_numpy(), np.arange(0, 120, 2), name="n"),
    "zone": walk().tz_localize("Europe/Berlin"),
    "periods": walk().to_period("D"),
    "long": pd.DataFrame(
        {"unique_id": np.repeat(["u", "v"], 60), "ds": [*walk().index] * 2, "y": [*walk(), *walk(seed=2)]}
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forecasts_are_the_same(form):
    data = FORMS[form]
    model = forecaster(level=80, intervals="conformal", **WINDOW).fit(data)
    small = pickle.loads(pickle.dumps(model.without_histories()))
    equal = assert_series_equal if isinstance(model.predict(), pd.Series) else assert_frame_equal
    equal(small.predict(data), model.predict())
    assert not len(small.panel_.values)
    assert len(model.panel_.values) in (60, 120)


@pytest.mark.parametrize(
    "parameters", [{"lags": None}, {"stat_exog": ["s"], "futr_exog": ["x"]}, {"differences": 7}], ids=name_of
)
def test_of_all_kinds(parameters):
    data = FORMS["long"].assign(s=[1.0] * 60 + [2.0] * 60, x=np.arange(120.0))
    model = forecaster(parameters).fit(data)
    small = model.without_histories()
    given = {}
    if "futr_exog" in parameters:
        given["X_df"] = model.make_future_dataframe().assign(x=3.0)
        assert_frame_equal(small.make_future_dataframe(data), model.make_future_dataframe())
    assert_frame_equal(small.predict(data, **given), model.predict(**given))
    assert_frame_equal(small.predict(data.drop(columns="s"), **given), model.predict(**given))


def test_what_needs_histories_says_so():
    data = walk()
    small = forecaster().fit(data).without_histories()
    for method in (small.predict, small.plot, small.make_future_dataframe, small.fitted_values):
        with pytest.raises(ValueError, match=LEFT_OUT):
            method()
    later = pd.Series(1.0, pd.date_range(data.index[-1], periods=H + 1)[1:], name=data.name)
    for method in (small.update, small.score):
        with pytest.raises(ValueError, match=LEFT_OUT):
            method(later)
    small.plot(data)
    assert small.fit(data).panel_.lengths.tolist() == [60]


def test_it_is_a_copy():
    data = walk()
    model = forecaster().fit(data)
    small, before = model.without_histories(), model.predict()
    later = pd.Series(1.0, pd.date_range(data.index[-1], periods=9)[1:], name=data.name)
    model.update(later, max_steps=20)
    assert_series_equal(small.predict(data), before)
    with pytest.raises(ValueError, match="not fitted"):
        forecaster().without_histories()

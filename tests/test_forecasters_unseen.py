"""Series that were not in `fit`: forecast by what was learnt from others, with a scale of their own."""

import pickle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal
from spies import SCALINGS, H, forecaster, name_of, panel_of, spied, walk

MODEL = "LSTMForecaster"


def of(data, *names):
    return data[data["unique_id"].isin(names)].reset_index(drop=True)


@pytest.mark.parametrize(
    "parameters",
    [*SCALINGS, {"scaling": None}, {"differences": [1, 7]}, {"log1p": True}, {"lags": None},
     {"lags": None, "strategy": "recursive"}, {"strategy": "encoder_decoder"}, {"level": 80},
     {"level": 80, "intervals": "conformal", "calibration_windows": 2}],
    ids=name_of,
)  # fmt: skip
def test_a_series_by_another_name_is_the_same_series(parameters):
    """The history of `fit` under a new name has the scale of that history, so the same forecast."""
    data = panel_of((40, 50))
    model = forecaster(parameters).fit(data)
    renamed = data.assign(unique_id=data["unique_id"].map({"s0": "new", "s1": "newer"}))
    expected = model.predict().drop(columns="unique_id")
    found = model.predict(renamed)
    assert found["unique_id"].tolist() == ["new"] * H + ["newer"] * H
    assert_frame_equal(found.drop(columns="unique_id"), expected)


def test_the_scale_is_that_of_the_history_given():
    """By hand: what the spy answers, the last value, in units of the new series; others keep that of fit."""
    data = panel_of((40, 50, 60))
    model = spied(of(data, "s0", "s1"), scaling="standard")
    model.predict(of(data, "s1", "s2"))
    y = {name: part.to_numpy() for name, part in data.groupby("unique_id")["y"]}
    shift, scale = (np.array([f(y["s1"]), f(y["s2"])])[:, None] for f in (np.mean, np.std))
    windows = np.stack([y["s1"][-5:], y["s2"][-5:]])
    np.testing.assert_allclose(model.regressor_.asked_, (windows - shift) / scale, rtol=1e-6)
    short = of(data, "s1", "s2").groupby("unique_id").tail(9).reset_index(drop=True)
    model.predict(short)
    shift[1], scale[1] = y["s2"][-9:].mean(), y["s2"][-9:].std()
    np.testing.assert_allclose(model.regressor_.asked_, (windows - shift) / scale, rtol=1e-6)


def test_a_model_of_a_sample_forecasts_all():
    """With covariates; those of the sample are forecast as ever, and nothing of the model has changed."""
    data = panel_of(range(30, 50))
    sample = of(data, "s3", "s8", "s11")
    roles = dict(futr_exog="x", hist_exog="z", stat_exog="size")
    model = forecaster(roles).fit(sample)
    before = pickle.dumps(model.model_)
    future = model.make_future_dataframe(data).assign(x=0.5)
    assert len(future) == 20 * H
    found = model.predict(data, X_df=future)
    assert sorted(found["unique_id"].unique()) == sorted(data["unique_id"].unique())
    assert np.isfinite(found[MODEL]).all()
    assert_frame_equal(of(found, "s3", "s8", "s11"), model.predict(X_df=future))
    assert pickle.dumps(model.model_) == before
    one_by_one = [model.predict(of(data, name), X_df=future) for name in sorted(data["unique_id"].unique())]
    assert_frame_equal(pd.concat(one_by_one, ignore_index=True), found)
    plt.close(model.plot(data, found, ids="s19").figure_)


def test_intervals_of_new_series_have_the_mean_size():
    """In units of their own steps; those of fit keep the size that their own errors have."""
    data = panel_of((60, 60, 60))
    data["y"] += 5 * data["x"] * (data["unique_id"] == "s1")  # without much sense
    parameters = dict(level=80, intervals="conformal", calibration_windows=6)
    model = forecaster(parameters).fit(of(data, "s0", "s1"))
    sizes = model.widths_.sizes[0, :, 0]
    assert sizes[0] != sizes[1]
    found = model.predict(of(data, "s1", "s2"))
    half = (found[f"{MODEL}-hi-80"] - found[MODEL]).to_numpy().reshape(2, H)
    steps = [of(data, name)["y"].diff().abs().mean() for name in ("s1", "s2")]
    expected = np.outer(np.multiply(steps, [sizes[1], sizes.mean()]), model.widths_.by_step)
    np.testing.assert_allclose(half, expected)


def test_a_model_without_its_histories_forecasts_all():
    data = panel_of((40, 50, 60))
    model = forecaster().fit(of(data, "s0", "s1"))
    assert_frame_equal(model.without_histories().predict(data), model.predict(data))


def test_static_columns_of_new_series():
    """From the frame or from static_df, the same."""
    data = panel_of((40, 50, 60))
    table = data.drop_duplicates("unique_id")[["unique_id", "size"]]
    inside = forecaster(stat_exog="size").fit(of(data, "s0", "s1"))
    beside = forecaster(stat_exog="size").fit(of(data, "s0", "s1").drop(columns="size"), static_df=table)
    found = inside.predict(data)
    assert_frame_equal(beside.predict(data.drop(columns="size"), static_df=table), found)
    other = inside.predict(data.assign(size=data["size"].replace(2.0, 9.0)))
    assert (other[MODEL] != found[MODEL]).tolist() == [False] * 2 * H + [True] * H


@pytest.mark.parametrize("level", [None, 80])
def test_columns_of_a_wide_frame(level):
    """The answer has the columns of the data: those of fit in its order, then the others."""
    data = pd.DataFrame({name: walk(seed=k) for k, name in enumerate("abcd")})
    model = forecaster(level=level).fit(data[["a", "b"]])
    both = model.predict(data[["c", "b", "d"]])
    assert both.columns.unique(0).tolist() == ["b", "c", "d"]
    assert_frame_equal(both[["b"]], model.predict()[["b"]])
    for name in "cd":
        assert_frame_equal(both[[name]], model.predict(data[[name]]))
    assert model.predict().columns.unique(0).tolist() == ["a", "b"]


def test_a_series_of_another_name():
    one, other = walk().rename("one"), walk(seed=1).rename("other")
    model = forecaster().fit(one)
    assert_series_equal(model.predict(one.rename("other")), model.predict().rename("other"))
    found = model.predict(other)
    assert found.name == "other"
    wide = forecaster().fit(one.to_frame()).predict(other.to_frame())
    np.testing.assert_array_equal(found, wide["other"])
    assert model.predict().name == "one"


@pytest.mark.parametrize("ids", [[10, 2, 30], ["b", "a", "c"]])
@pytest.mark.parametrize("dtype", [object, "category"])
def test_names_of_any_kind(ids, dtype):
    data = panel_of((40, 50, 60))
    data["unique_id"] = data["unique_id"].map(dict(zip(["s0", "s1", "s2"], ids))).astype(dtype)
    few = data[data["unique_id"] != ids[0]]
    found = forecaster().fit(few).predict(data)
    assert found["unique_id"].tolist() == [name for name in sorted(ids) for _ in range(H)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda data: data.assign(c=1.0), "targets were not there in fit: 'c'; .* its targets together"),
        (lambda data: data[["a", "x"]], "columns are not in the frame: 'b'"),
    ],
)
def test_targets_that_are_forecast_together(changed, message):
    data = pd.DataFrame({name: walk(seed=k) for k, name in enumerate("abx")})
    model = forecaster(multivariate=True, hist_exog="x").fit(data)
    with pytest.raises(ValueError, match=message):
        model.predict(changed(data))


def test_covariates_that_are_needed():
    data = pd.DataFrame({name: walk(seed=k) for k, name in enumerate("abx")})
    model = forecaster(futr_exog="x").fit(data)
    with pytest.raises(ValueError, match="columns are not in the frame: 'x'"):
        model.predict(data[["a", "b"]])
    with pytest.raises(ValueError, match="no column is left to forecast"):
        model.predict(data[["x"]])
    data = panel_of((40, 50, 60))
    table = pd.DataFrame({"unique_id": ["s0", "s1"], "size": [1.0, 2.0]})
    known, data = (each.drop(columns="size") for each in (of(data, "s0", "s1"), data))
    model = forecaster(stat_exog="size").fit(known, static_df=table)
    message = "series were not there in fit: 's2'; of these, 'size' has to be given, by static_df or as"
    with pytest.raises(ValueError, match=message):
        model.predict(data)
    with pytest.raises(ValueError, match="static_df has no row for 's2'"):
        model.predict(data, static_df=table)

import builtins
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error

from skrnn.forecasting.frames import read_panel, write_cross_validation
from skrnn.forecasting.metrics import evaluate
from skrnn.forecasting.splits import RollingOrigin

pytestmark = pytest.mark.skipif(find_spec("utilsforecast") is None, reason="utilsforecast is not installed")

LEVELS = {"lo-80": -1.0, "hi-80": 1.0, "lo-97.5": -3.0, "hi-97.5": 3.0}


def days(n, start="2020-01-01", **kwargs):
    return pd.date_range(start, periods=n, freq="D", **kwargs)


def wide():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(10, 3, (20, 3)), days(20, tz="Europe/Berlin"), columns=["c", "a", "b"])
    return frame.rename_axis(index="when")


def long():
    """The series of `wide`, shuffled; b has no first rows, so that its numbers are others."""
    frame = wide().melt(ignore_index=False, var_name="city", value_name="sales").reset_index()
    frame = frame[(frame["city"] != "b") | (frame["when"] > wide().index[4])]
    return frame.sample(frac=1, random_state=0)


NAMES = dict(id_col="city", time_col="when", target_col="sales")


def validate(data, levels=LEVELS, **arguments):
    """Four overlapping windows of four steps, forecast with noise."""
    rng = np.random.default_rng(1)
    panel = read_panel(data, **arguments)
    folds = list(RollingOrigin(4, h=4, step_size=2).folds(panel))
    answers = []
    for fold in folds:
        point = np.nan_to_num(fold.y) + rng.normal(0, 2, fold.y.shape)
        answers.append({"point": point} | {name: point + width for name, width in levels.items()})
    return write_cross_validation(panel, folds, answers, "LSTM")


def groups(scores):
    return dict(iter(scores.groupby("city", observed=True)))


def bare(metric):
    """The metric of one series, from its rows of the scores of a long frame."""
    if metric == "mae":
        return lambda p: mean_absolute_error(p["sales"], p["LSTM"])
    if metric == "rmse":
        return lambda p: root_mean_squared_error(p["sales"], p["LSTM"])
    if metric == "smape":
        return lambda p: np.mean(200 * np.abs(p["sales"] - p["LSTM"]) / (p["sales"].abs() + p["LSTM"].abs()))
    if metric == "pinball":
        quantiles = {"lo-80": 0.1, "hi-80": 0.9, "lo-97.5": 0.0125, "hi-97.5": 0.9875}
        return lambda p: np.mean(
            [mean_pinball_loss(p["sales"], p[f"LSTM-{name}"], alpha=q) for name, q in quantiles.items()]
        )
    level = metric.split("-")[1]
    return lambda p: np.mean((p[f"LSTM-lo-{level}"] <= p["sales"]) & (p["sales"] <= p[f"LSTM-hi-{level}"]))


# --- numbers --------------------------------------------------------------------------------------
@pytest.mark.parametrize("metric", ["mae", "rmse", "smape", "pinball", "coverage-80", "coverage-97.5"])
def test_numbers(metric):
    scores = validate(long(), **NAMES)
    expected = {city: bare(metric)(part) for city, part in groups(scores).items()}
    asked = metric.split("-")[0]
    by_series = evaluate(scores, asked, by="series", **NAMES)
    assert by_series.index.names == ["city", "metric"]
    assert by_series.columns.tolist() == ["LSTM"]
    found = by_series.xs(metric, level="metric")["LSTM"]
    assert found.index.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(found, [expected[city] for city in "abc"])
    overall = evaluate(scores, asked, **NAMES)
    assert overall.index.name == "metric"
    assert overall.loc[metric, "LSTM"] == pytest.approx(np.mean(list(expected.values())))
    by_cutoff = evaluate(scores, [asked], by="cutoff", **NAMES).xs(metric, level="metric")["LSTM"]
    assert by_cutoff.index.dtype == scores["cutoff"].dtype
    for cutoff, part in scores.groupby("cutoff"):
        np.testing.assert_allclose(
            by_cutoff[cutoff], np.mean([bare(metric)(p) for p in groups(part).values()])
        )


@pytest.mark.parametrize("seasonality", [1, 3])
def test_mase(seasonality):
    scores, train = validate(long(), **NAMES), long().sort_values("when")
    expected = {}
    for (city, cutoff), part in scores.groupby(["city", "cutoff"]):
        known = train[(train["city"] == city) & (train["when"] <= cutoff)]["sales"].to_numpy()
        scale = np.abs(known[seasonality:] - known[:-seasonality]).mean()
        expected[city, cutoff] = np.abs(part["sales"] - part["LSTM"]).mean() / scale
    expected = pd.Series(expected)
    arguments = dict(train=long(), seasonality=seasonality, **NAMES)
    by_series = evaluate(scores, "mase", by="series", **arguments)["LSTM"]
    np.testing.assert_allclose(by_series, expected.groupby(level=0).mean())
    by_cutoff = evaluate(scores, "mase", by="cutoff", **arguments)["LSTM"]
    np.testing.assert_allclose(by_cutoff, expected.groupby(level=1).mean())
    assert evaluate(scores, "mase", **arguments).loc["mase", "LSTM"] == pytest.approx(expected.mean())


def test_mase_does_not_step_over_gaps():
    series = pd.Series([0.0, 1, 2, 12, 13, 14, 15, 16, 17, 18], days(10), name="y").drop(days(10)[3])
    scores = pd.DataFrame({"cutoff": days(10)[7], "y": [17.0], "M": [20.0]}, days(10)[8:9])
    score = evaluate(scores, "mase", train=series, freq="D")
    assert score.loc["mase", "M"] == 3.0  # not 3 / (17 / 6)


def test_series_without_a_mase():
    t = np.arange(20)
    frame = wide().assign(dead=0.0, weekly=np.sin(2 * np.pi * t / 7) + 10, late=wide()["a"].where(t > 12))
    scores = validate(frame.drop(columns="late").join(frame["a"].rename("late")))
    frame = frame.melt(ignore_index=False, var_name="city", value_name="sales").dropna().reset_index()
    arguments = dict(train=frame, seasonality=7, id_col="city", time_col="when", target_col="sales")
    with pytest.warns(UserWarning, match="not defined for series 'dead', 'weekly', 'late': up to a cutoff"):
        result = evaluate(scores, "mase", by="series", **arguments)["LSTM"]
    expected = evaluate(scores[["c", "a", "b"]], "mase", by="series", **arguments)["LSTM"]
    np.testing.assert_array_equal(result[:3], expected)
    assert result[3:].isna().all()
    with pytest.warns(UserWarning, match="not defined"):
        overall = evaluate(scores, "mase", **arguments).loc["mase", "LSTM"]
    assert overall == expected.mean()
    with pytest.warns(UserWarning, match="not defined for series 'dead': "):
        alone = evaluate(scores[["dead"]], ["mae", "mase"], **arguments)["LSTM"]
    assert alone.isna().tolist() == [False, True]


def test_percentages_and_signs():
    scores = pd.DataFrame({"cutoff": 1, "y": [0.0, -2.0, 4.0], "M": [1.0, -1.0, 1.0]})
    result = evaluate(scores, ["mape", "bias"])["M"]
    assert result.tolist() == [(50 + 75) / 2, (1 + 1 - 3) / 3]


def test_rmsse():
    scores, train = validate(long(), **NAMES), long().sort_values("when")
    expected = {}
    for city, rows in scores.groupby("city"):
        errors = []
        for cutoff, part in rows.groupby("cutoff"):
            known = train[(train["city"] == city) & (train["when"] <= cutoff)]["sales"].to_numpy()
            scale = np.sqrt(np.mean((known[3:] - known[:-3]) ** 2))
            errors.extend((part["LSTM"] - part["sales"]) / scale)
        expected[city] = np.sqrt(np.mean(np.square(errors)))
    result = evaluate(scores, "rmsse", by="series", train=long(), seasonality=3, **NAMES)["LSTM"]
    np.testing.assert_allclose(result, list(expected.values()))


def median_error(y, f):
    return np.median(np.abs(y - f))


def test_metrics_of_the_user():
    scores = validate(long(), **NAMES)
    of_series = pd.Series(
        {city: median_error(part["sales"], part["LSTM"]) for city, part in groups(scores).items()}
    )
    result = evaluate(scores, ["mae", median_error], by="series", **NAMES)["LSTM"]
    np.testing.assert_allclose(result.xs("median_error", level=1), of_series)
    assert evaluate(scores, median_error, **NAMES).loc["median_error", "LSTM"] == pytest.approx(
        of_series.mean()
    )
    both = evaluate(scores, ["mae", mean_absolute_error], by="cutoff", **NAMES)["LSTM"].unstack()
    np.testing.assert_allclose(both["mae"], both["mean_absolute_error"])


@pytest.mark.parametrize("metric", ["mae", "rmse", "mase", "pinball", median_error])
def test_by_step(metric):
    scores = validate(long(), **NAMES).sort_values(["when", "cutoff"])
    days_on = (scores["when"].dt.tz_localize(None) - scores["cutoff"].dt.tz_localize(None)).dt.days
    result = evaluate(scores, metric, by="step", train=long(), **NAMES)
    assert result.index.get_level_values("step").tolist() == [1, 2, 3, 4]
    for step in range(1, 5):
        alone = evaluate(scores[days_on == step], metric, train=long(), **NAMES)
        assert result["LSTM"].iloc[step - 1] == pytest.approx(alone["LSTM"].iloc[0])


@pytest.mark.parametrize("form", ["series", "wide", "long"])
def test_a_forecast_beside_true_values(form):
    """The scores of one cutoff are those of a forecast."""
    data = {"series": wide()["a"], "wide": wide(), "long": long()}[form]
    names = NAMES if form == "long" else {}
    scores = validate(data, **names)
    if form == "wide":
        last = scores.index.get_level_values(0)[-1]
        scores = scores.xs(last, drop_level=False)
        plain = scores.droplevel("cutoff")
    else:
        ends = scores.groupby("city" if form == "long" else lambda _: 0)["cutoff"].transform("max")
        scores = scores[scores["cutoff"] == ends]
        plain = scores.drop(columns="cutoff")
    metrics = ["mae", "mase", "rmsse", "coverage", "pinball"]
    for by in "overall", "series", "step":
        expected = evaluate(scores, metrics, by=by, train=data, **names)
        pd.testing.assert_frame_equal(evaluate(plain, metrics, by=by, train=data, **names), expected)


# --- forms ----------------------------------------------------------------------------------------
def test_every_form_has_the_same_scores():
    metrics = ["mae", "rmse", "smape", "mase", "pinball", "coverage"]
    frame, table = wide(), wide().melt(ignore_index=False, var_name="city", value_name="sales").reset_index()
    order = ["a", "b", "c"]
    of_wide = evaluate(validate(frame[order]), metrics, train=frame, seasonality=2)
    of_joint = validate(frame[order], multivariate=True)
    of_long = evaluate(validate(table, **NAMES), metrics, train=table, seasonality=2, **NAMES)
    pd.testing.assert_frame_equal(of_wide, of_long)
    assert evaluate(of_joint, metrics, train=frame).index.tolist() == of_wide.index.tolist()
    one = evaluate(validate(frame["a"]), metrics, train=frame["a"])
    same = evaluate(validate(frame[["a"]]), metrics, train=frame[["a"]])
    pd.testing.assert_frame_equal(one, same)
    rows = ["mae", "rmse", "smape", "mase", "pinball", "coverage-80", "coverage-97.5"]
    assert one.index.tolist() == rows


def test_series_of_a_wide_frame_keep_their_order_and_names():
    scores = validate(wide().rename(columns={"c": 0}))
    result = evaluate(scores, ["rmse", "mae"], by="series")
    assert result.index.tolist() == [(name, metric) for name in (0, "a", "b") for metric in ("rmse", "mae")]
    part = scores["a"]
    assert result.loc[("a", "mae"), "LSTM"] == pytest.approx(np.abs(part["y"] - part["LSTM"]).mean())


def test_periods_integers_and_categories():
    for index in pd.period_range("2020-01", periods=20, freq="M"), pd.RangeIndex(0, 100, 5):
        frame = wide().set_axis(index, axis=0)
        same = evaluate(validate(frame), ["mae", "mase"], train=frame)
        pd.testing.assert_frame_equal(same, evaluate(validate(wide()), ["mae", "mase"], train=wide()))
    table = long().astype({"city": pd.CategoricalDtype(["b", "z", "c", "a"])})
    result = evaluate(validate(table, **NAMES), "mae", by="series", train=table, **NAMES)
    assert result.index.get_level_values(0).tolist() == ["b", "c", "a"]


def test_other_models_beside():
    scores = validate(long(), **NAMES).assign(naive=0.0)
    result = evaluate(scores, ["mae", "coverage", "pinball"], **NAMES)
    assert result.columns.tolist() == ["LSTM", "naive"]
    assert result.loc["mae", "naive"] == pytest.approx(
        np.mean([part["sales"].abs().mean() for part in groups(scores).values()])
    )
    assert result["naive"].isna().tolist() == [False, True, True, True]
    half = scores.assign(**{"naive-lo-80": -np.inf})  # no interval
    assert np.isnan(evaluate(half, "coverage", **NAMES).loc["coverage-80", "naive"])
    both = scores.assign(**{"naive-lo-80": -np.inf, "naive-hi-80": np.inf})
    result = evaluate(both, "coverage", **NAMES)
    assert result.loc["coverage-80", "naive"] == 1
    assert np.isnan(result.loc["coverage-97.5", "naive"])


def test_rows_without_a_true_value_do_not_count():
    data = wide().where(wide() > 8).fillna({"a": 0.0, "b": 0.0}).iloc[:, [1, 2, 0]]
    data.iloc[0] = 10.0
    scores = validate(data, missing="mask")
    result = evaluate(scores, ["mae", "coverage"], by="series", train=data)
    part = scores["c"].dropna()
    assert 0 < len(part) < len(scores)
    assert result.loc[("c", "mae"), "LSTM"] == pytest.approx(np.abs(part["y"] - part["LSTM"]).mean())
    inside = (part["LSTM-lo-80"] <= part["y"]) & (part["y"] <= part["LSTM-hi-80"])
    assert result.loc[("c", "coverage-80"), "LSTM"] == pytest.approx(inside.mean())


def test_smape_at_its_ends():
    scores = pd.DataFrame({"cutoff": 1, "y": [0.0, 0.0, 1.0, 5.0], "M": [0.0, 1.0, -3.0, 5.0]})
    assert evaluate(scores, "smape").loc["smape", "M"] == 100.0  # 0, 200, 200 and 0


# --- mistakes -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("scores", "arguments", "message"),
    [
        (None, dict(metrics=["mae", "mspe"]), "metrics are mae, rmse, .* or callables; got 'mspe'"),
        (None, dict(by="row"), "by must be 'overall', 'series', .*, got 'row'"),
        (None, dict(metrics="mase"), "mase needs train="),
        (lambda s: s["LSTM"], {}, "scores must be a DataFrame as of cross_validation, got pandas.*Series"),
        (lambda s: s.drop(columns="cutoff"), dict(by="cutoff"), "by='cutoff' needs a column cutoff"),
        (lambda s: s.drop(columns="city"), {}, "several rows of one time and cutoff: .* a column 'city'"),
        (lambda s: s.assign(step=1.0), {}, "a model of scores cannot be called 'step'"),
        (lambda s: s.assign(y=1.0), {}, "scores have a column 'y' beside 'sales': rename the model"),
        (lambda s: s.drop(columns="sales"), {}, "scores have no true values"),
        (lambda s: s.assign(sales=np.nan), {}, "all true values are NaN"),
        (
            lambda s: s[[*NAMES.values(), "cutoff", "LSTM"]],
            dict(metrics="coverage"),
            "coverage needs .* LSTM-lo-80",
        ),
        (
            lambda s: s[[*NAMES.values(), "cutoff", "LSTM"]],
            dict(metrics="pinball"),
            "pinball needs .* LSTM-lo-80",
        ),
        (None, dict(metrics="mase", train=long()[long()["city"] != "b"]), "train lacks series 'b'"),
        (
            None,
            dict(metrics="mase", train=long().assign(when=1).drop_duplicates("city")),
            "cutoff holds dates, but .* are integers",
        ),
    ],
)
def test_mistakes(scores, arguments, message):
    given = validate(long(), **NAMES)
    with pytest.raises(ValueError, match=message):
        evaluate(given if scores is None else scores(given), **arguments, **NAMES)


def test_without_the_library(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("utilsforecast"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"need utilsforecast: pip install 'skrnn\[forecasting\]'"):
        evaluate(pd.DataFrame())


def test_where_a_model_has_no_forecast_it_is_not_scored():
    """Each by its own rows, by all metrics, as if the others were not there."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"unique_id": np.repeat(["a", "b"], 20), "ds": [*days(20)] * 2,
                          "y": rng.normal(size=40)})  # fmt: skip
    for model in "MN":
        frame[model] = rng.normal(size=40)
        frame[f"{model}-lo-80"], frame[f"{model}-hi-80"] = frame[model] - 1, frame[model] + 1
    own = [column for column in frame if column.startswith("N")]
    frame.loc[rng.random(40) < 0.4, own] = np.nan
    metrics = ["mae", "rmse", "smape", "coverage", "pinball", mean_absolute_error]
    for by in ("overall", "series"):
        both = evaluate(frame, metrics, by=by)
        pd.testing.assert_series_equal(both["M"], evaluate(frame.drop(columns=own), metrics, by=by)["M"])
        rest = frame.dropna().drop(columns=[c for c in frame if c.startswith("M")])
        pd.testing.assert_series_equal(both["N"], evaluate(rest, metrics, by=by)["N"])


def test_metrics_of_one_name():
    frame = pd.DataFrame({"unique_id": "a", "ds": days(4), "y": 1.0, "M": 2.0})
    with pytest.raises(ValueError, match="two metrics are called '<lambda>'"):
        evaluate(frame, [lambda y, f: 1.0, lambda y, f: 2.0])

"""A decoder that writes the horizon step by step: its forecasts by hand, and all that forecasters can."""

import pickle
import re

import gpu
import numpy as np
import pandas as pd
import pytest
import reference
from forms import few_forms, head, kind, tail
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from spies import LAGS, QUICK, WINDOW, H, forecaster, name_of, panel_of, walk

from skrnn import GRURegressor, LSTMRegressor, RNNRegressor, inference
from skrnn.estimators import encoder_decoder as module
from skrnn.estimators.encoder_decoder import EncoderDecoder, Pairs
from skrnn.forecasting import GRUForecaster, LSTMForecaster, RNNForecaster
from skrnn.forecasting.model import Model
from skrnn.losses import ordered_quantiles
from skrnn.sequences import Sequences, Targets

DECODER, READING = {"strategy": "encoder_decoder"}, {"autoregressive": True}
ROLES = {"futr_exog": "x", "hist_exog": "z", "stat_exog": "size"}
MODEL = "LSTMForecaster"


def decoder(parameters=None, cls=LSTMForecaster, **more):
    return forecaster(DECODER | (parameters or {}), cls, **more)


@pytest.fixture
def given(monkeypatch):
    """What encoder-decoders are given to learn."""
    kept, fit = [], EncoderDecoder.fit

    def keeping(self, X, y, w, **more):
        kept.append((X, y, w))
        return fit(self, X, y, w, **more)

    monkeypatch.setattr(EncoderDecoder, "fit", keeping)
    return kept


# --- by hand ----------------------------------------------------------------------------------------
def written(network, history, known, n_targets=1):
    """Raw outputs of all steps, in NumPy: for each the decoder goes through all steps up to it again, in
    whose first columns stand the answers to the steps before, if there are `n_targets` of them."""
    weights, p = network.weights_, network._architecture
    H, options = p["hidden_size"], {"cell": p["cell"], "num_layers": p["num_layers"]}
    head = {"head.weight": np.zeros((1, 1)), "head.bias": np.zeros(1)}

    def side(name, H):
        own = {key.removeprefix(name): w for key, w in weights.items() if key.startswith(name)}
        return head | {"head.weight": np.zeros((1, H))} | own

    both = {"bidirectional": p["bidirectional"], "return_sequences": True}
    encoded = reference.forward(side("encoder.", H), [history], **options, **both)
    memory, last = encoded.hidden[0], encoded.state
    last = [part.reshape(p["num_layers"], 1, H) for part in (last if p["cell"] == "lstm" else [last])]
    first = tuple(last) if p["cell"] == "lstm" else last[0]
    steps, raw = np.array(known, float), []
    for k in range(len(steps)):
        if k and n_targets:
            steps[k, :n_targets] = point(network, raw[-1])
        found = reference.forward(
            side("decoder.", H), [steps[: k + 1]], **options, initial_state=first, return_sequences=True
        )
        state = found.hidden[0][-1]
        if "attention.weight" in weights:
            scores = memory @ state
            context = (np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()) @ memory
            state = np.tanh(weights["attention.weight"] @ np.r_[context, state] + weights["attention.bias"])
        out = weights["head.weight"] @ state + weights["head.bias"]
        raw.append(out + (weights["skip.weight"] @ steps[k] if "skip.weight" in weights else 0))
    raw = np.array(raw)
    if "direct.weight" in weights:
        raw += (weights["direct.weight"] @ history.ravel()).reshape(raw.shape)
    return raw


def point(network, raw):
    """The answers that a step reads of raw outputs."""
    levels = getattr(network, "quantiles_", None)
    if levels is None:
        return raw
    return ordered_quantiles(raw[None], len(levels), len(levels) // 2)[0, :, len(levels) // 2]


NETWORKS = {
    "rnn": RNNRegressor(3, dtype="float64", max_iter=3, random_state=0),
    "lstm": LSTMRegressor(4, num_layers=2, dtype="float64", linear_skip=True, max_iter=3, random_state=0),
    "gru": GRURegressor(4, bidirectional=True, dtype="float64", max_iter=3, random_state=0),
}


@pytest.mark.parametrize("autoregressive", [False, True])
@pytest.mark.parametrize("lags", [LAGS, None])
@pytest.mark.parametrize("network", NETWORKS)
def test_forecasts_by_hand(network, lags, autoregressive):
    """Row by row: what the encoder and the decoder read, and that this reads its own answers, or none."""
    data = panel_of()
    later = data.groupby("unique_id").cumcount(ascending=False) < H
    model = decoder(ROLES, lags=lags, regressor=NETWORKS[network], autoregressive=autoregressive)
    model.fit(data[~later])
    assert ("direct.weight" in model.regressor_.weights_) == (
        network == "lstm" and lags is not None and not autoregressive
    )
    forecast = model.predict(X_df=data[later])[MODEL].to_numpy().reshape(2, H)
    known = data[~later]
    z = (data[["x", "z"]] - known[["x", "z"]].mean()) / known[["x", "z"]].std(ddof=0)
    transform = model.model_.models[0].transform
    for i, rows in enumerate(data.groupby("unique_id").indices.values()):
        shift, scale = transform.shift[i, 0], transform.scale[i, 0]
        n = len(rows) - H
        y = (data["y"].to_numpy()[rows][:n] - shift) / scale
        x, past = z["x"].to_numpy()[rows], z["z"].to_numpy()[rows]
        size = np.full(n, 2.0 * i - 1)
        history = np.stack([y, past[:n], x[1 : n + 1], size], axis=1)[-(lags or n) :]
        known_ahead = np.stack([np.r_[y[-1], np.zeros(H - 1)], x[n:], size[:H]], axis=1)
        if not autoregressive:
            known_ahead = known_ahead[:, 1:]
        expected = written(model.regressor_, history, known_ahead, int(autoregressive))[:, 0]
        assert_allclose(forecast[i], expected * scale + shift, rtol=1e-9)


@pytest.mark.parametrize("autoregressive", [False, True])
@pytest.mark.parametrize(
    "parameters",
    [{"scaling": "standard", **WINDOW}, {"scaling": "last"}, {"level": 80}, {"multivariate": True}],
    ids=name_of,
)
def test_scales_quantiles_and_several_targets_by_hand(parameters, autoregressive):
    data = pd.DataFrame({"a": walk(), "b": 3 * walk(seed=1)})
    model = decoder(parameters, regressor=NETWORKS["lstm"], autoregressive=autoregressive).fit(data)
    forecast, transform = model.predict(), model.model_.models[0].transform
    together = "multivariate" in parameters
    for i, names in enumerate([["a", "b"]] if together else [["a"], ["b"]]):
        shift, scale = transform.shift[i], transform.scale[i]
        history = (data[names].to_numpy()[-LAGS:] - shift) / scale
        level, unit = np.zeros(len(names)), np.ones(len(names))
        if model.scaling == "last":
            unit = np.abs(history[-1])
        elif "scale_by" in parameters:
            level, unit = history.mean(axis=0), history.std(axis=0)
        history = (history - level) / unit
        known = np.zeros((H, len(names)))
        known[0] = history[-1]
        if not autoregressive:  # nothing is known of a step
            known = np.zeros((H, 1))
        raw = written(model.regressor_, history, known, len(names) * autoregressive)
        expected = np.array([point(model.regressor_, row) for row in raw])
        found = forecast[names].to_numpy()
        if "level" in parameters:
            expected = ordered_quantiles(raw, 3, 1)[:, 0, [1, 0, 2]]  # the median, low, high
        assert_allclose(found, (expected * unit + level) * scale + shift, rtol=1e-9)


# --- no true value behind a history -----------------------------------------------------------------
def pairs_of(n=40, seed=0, autoregressive=True):
    draw = np.random.default_rng(seed)
    steps, lengths = draw.standard_normal((n * H, 2)), np.full(n, H, np.intp)
    histories = Sequences.from_dense(draw.standard_normal((n, LAGS, 3)), np.float64)
    y = Targets(draw.standard_normal((n * H, 1)), np.arange(0, n * H, H), H)
    return Pairs(histories, Sequences.consecutive(steps, lengths), autoregressive), y


def test_neither_predictions_nor_scores_of_validation_data_read_true_answers():
    (X, y), (X_val, y_val) = pairs_of(), pairs_of(seed=1)
    network = EncoderDecoder(
        4, cell="gru", dtype="float64", early_stopping=True, n_iter_no_change=9, max_iter=4, random_state=0
    ).fit(X, y, X_val=X_val, y_val=y_val)
    answers = network.predict(X_val)
    other = X_val.steps.values.copy()
    other[np.arange(len(other)) % H > 0, 0] = 1e3  # answers to all steps but the last known one
    moved = Pairs(X_val.history, Sequences.consecutive(other, X_val.steps.lengths), True)
    assert_array_equal(network.predict(moved), answers)
    assert network.best_validation_score_ == r2_score(y_val.matrix(), answers)
    # while in training it does
    whole = network._predictor("cpu")
    forced, _ = inference.run(whole.network, whole.params, X_val.steps, mates=X_val.history)
    assert_allclose(forced[:, 0], answers[:, 0], rtol=1e-12)
    assert (np.abs(forced[:, 1:] - answers[:, 1:]) > 1e-4).all()


def test_an_answer_that_is_not_finite_ends_its_own_forecast():
    """A network never reads it: on a GPU it would keep what all others read from there."""

    class Growing:
        x, out = np.zeros((3, 2)), np.zeros((3, 1))

        def advance(self):
            assert np.isfinite(self.x).all()
            with np.errstate(over="ignore"):
                self.out[:, 0] = self.x[:, 0] * 1e200 + self.x[:, 1]

    known = np.zeros((3, 4, 2))
    known[0, 0, 0], known[2, :, 1] = 1, 5
    known[2, 0, 0] = known[2, 1, 0] = 1e-200  # of which the second is not read
    raw = module.write(Growing(), known, lambda raw: raw)
    assert_array_equal(raw[0], [1e200, np.inf, np.nan, np.nan])
    assert_array_equal(raw[1], 0)
    assert_array_equal(raw[2, :2], [6, 6e200])


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=gpu.needs_gpu)])
@pytest.mark.parametrize("autoregressive", [False, True])
def test_a_gpu_forecasts_the_same(autoregressive, device):
    own = GRURegressor(2, linear_skip=True, dtype="float64", max_iter=1, random_state=0)
    here, there = (
        decoder(regressor=clone(own).set_params(device=where), autoregressive=autoregressive, level=80)
        .fit(walk(14))
        .predict()
        for where in ("cpu", device)
    )
    assert_allclose(there, here, rtol=1e-9)


# --- what it learns ---------------------------------------------------------------------------------
@pytest.mark.parametrize("autoregressive", [False, True])
@pytest.mark.parametrize("cls", [RNNForecaster, LSTMForecaster, GRUForecaster])
def test_a_future_that_only_covariates_tell(cls, autoregressive):
    draw = np.random.default_rng(0)
    data = pd.DataFrame({"x": draw.integers(0, 2, 200).astype(float), "y": 0.0})
    data["y"] = 10 + 5 * data["x"] * np.r_[1, data["x"][:-1]]  # of two days of promotion in a row
    model = cls(
        7, 5, strategy="encoder_decoder", futr_exog="x", hidden_size=12, max_steps=250,
        learning_rate_init=0.01, random_state=0, autoregressive=autoregressive,
    )  # fmt: skip
    forecast = model.fit(data[:-7]).predict(X_df=data[["x"]][-7:])
    assert np.abs(forecast["y"] - data["y"][-7:]).max() < 1


@pytest.mark.parametrize(
    ("parameters", "data", "error"),
    [
        ({"differences": 1}, 3.0 * np.arange(80) - 1000, 0.5),
        ({"log1p": True}, np.exp(np.sin(np.arange(80) * np.pi / 4)), 0.5),
    ],
    ids=["differences", "log1p"],
)
def test_transforms(parameters, data, error):
    data = pd.Series(data)
    model = decoder(parameters, lags=8, hidden_size=8, max_steps=200, learning_rate_init=0.01)
    forecast = model.fit(data[:-H]).predict()
    assert np.abs(forecast - data[-H:]).max() < error


# --- series, histories, frames ----------------------------------------------------------------------
@pytest.mark.parametrize("autoregressive", [False, True])
@pytest.mark.parametrize("lags", [LAGS, None])
def test_a_series_is_forecast_the_same_alone_or_among_others(lags, autoregressive, monkeypatch):
    data = panel_of((30, 24, 27))
    later = data.groupby("unique_id").cumcount(ascending=False) < H
    model = decoder(ROLES, lags=lags, autoregressive=autoregressive).fit(data[~later])
    known, ahead = data[~later], data[later]
    together = model.predict(X_df=ahead)
    for i in "s0", "s1", "s2":
        alone = model.predict(known[known["unique_id"] == i], X_df=ahead)
        assert_array_equal(alone[MODEL], together.loc[together["unique_id"] == i, MODEL])
    monkeypatch.setattr(module, "BATCH", 2)
    assert_frame_equal(model.predict(X_df=ahead), together)


@few_forms
@pytest.mark.parametrize("level", [None, 80])
def test_forms_of_data(few, level):
    """Forecasts have the form of those of the other strategies, and are others."""
    data, parameters = few
    if level is not None and kind(data) == "long":
        parameters = parameters | {"intervals": "conformal", "calibration_windows": 3}
    model = decoder(parameters, level=level).fit(head(data, H))
    forecast, expected = model.predict(), forecaster(parameters, level=level).fit(head(data, H)).predict()
    assert type(forecast) is type(expected)
    assert forecast.axes[0].equals(expected.axes[0])
    assert forecast.axes[-1].equals(expected.axes[-1])
    found = forecast.to_numpy() if kind(data) != "long" else forecast.iloc[:, 2:].to_numpy()
    assert np.isfinite(found).all()
    assert (found != (expected.to_numpy() if kind(data) != "long" else expected.iloc[:, 2:].to_numpy())).all()
    other = model.predict(head(data, H + 2))
    assert (other.to_numpy()[..., -1] != forecast.to_numpy()[..., -1]).any()
    longer = model.update(tail(data, H)).predict()
    pd.testing.assert_index_equal(longer.index, model.predict(data).index)
    assert_array_equal(longer.to_numpy(), model.predict(data).to_numpy())


def test_windows_share_the_rows_of_their_table(given):
    """No step is kept h times, and without columns of its own the encoder reads the decoder's table."""
    data = panel_of()
    decoder(READING, futr_exog="x", stat_exog="size").fit(data)
    decoder(READING | ROLES).fit(data)
    decoder(ROLES).fit(data)
    for (X, y, _), shared, columns in zip(given, (True, False, False), (3, 3, 2)):
        assert X.steps.values.shape == (len(data), columns)
        assert (X.history.values is X.steps.values) == shared
        assert y.values.shape == (len(data), 1)
        assert_array_equal(X.steps.starts, X.history.starts + LAGS - 1)
        assert_array_equal(y.at, X.steps.starts + 1)
        assert len(X) == len(data) - 2 * (LAGS + H - 1)


@pytest.mark.parametrize("lags", [LAGS, None])
def test_a_missing_target_is_not_learnt(lags, given):
    data = walk()
    data.iloc[[20, 31, 32]] = np.nan
    model = decoder(READING, lags=lags, missing="mask").fit(data)
    ((X, y, w),) = given
    unknown = data.isna().to_numpy()
    assert_allclose(w, [1 - unknown[at : at + H].mean() for at in y.at])
    assert_array_equal(np.isnan(y.values[:, 0]), unknown)
    assert X.history.n_features == 2
    assert X.steps.n_features == 1  # no step ahead is observed, so the decoder is not told
    assert np.isfinite(model.predict()).all()
    filled = decoder(lags=lags, missing="interpolate").fit(data)
    assert_array_equal(filled.predict(data), filled.predict())


def test_whole_histories_are_learnt_up_to_every_step(given):
    decoder(lags=None).fit(panel_of((10, 8)))
    ((X, y, _),) = given
    assert X.history.starts.tolist() == [0] * 7 + [10] * 5
    assert X.history.lengths.tolist() == [*range(1, 8), *range(1, 6)]
    assert y.at.tolist() == [*range(1, 8), *range(11, 16)]


# --- models -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("lags", [LAGS, None])
def test_training_goes_on(lags):
    data = walk()
    model = decoder(lags=lags, max_steps=20).fit(data[:-10])
    weights = model.regressor_.weights_
    before = model.update(data[-10:]).predict()
    assert model.regressor_.weights_ is weights
    model.update(walk(70)[60:], max_steps=5)
    assert model.regressor_.n_iter_ > 0
    assert not np.array_equal(model.regressor_.weights_["head.weight"], weights["head.weight"])
    assert np.isfinite(model.predict()).all()
    assert before.index[0] == data.index[-1] + data.index.freq


@pytest.mark.parametrize(
    "parameters",
    [{}, READING | {"level": 80}, READING | {"validation_fraction": 0.2}, {"validation_fraction": 0.2}],
    ids=name_of,
)
def test_stored_and_copied(parameters):
    data = panel_of()
    model = decoder(ROLES | parameters).fit(data)
    ahead = model.make_future_dataframe().assign(x=0.3)
    expected = model.predict(X_df=ahead)
    assert_frame_equal(pickle.loads(pickle.dumps(model)).predict(X_df=ahead), expected)
    assert_frame_equal(clone(model).fit(data).predict(X_df=ahead), expected)


def test_models_of_earlier_versions_have_no_pairs():
    model = pickle.loads(pickle.dumps(forecaster().fit(walk())))
    for name in "pairs", "autoregressive", "ridge":
        del model.model_.task.__dict__[name]
    (model.model_,) = model.model_.models
    assert isinstance(model.model_, Model)
    model = pickle.loads(pickle.dumps(model))
    assert np.isfinite(model.predict()).all()


@pytest.mark.parametrize(
    "parameters", [{}, {"level": 80, "intervals": "conformal", "calibration_windows": 3}]
)
def test_backtests(parameters):
    """Each fold as a fit on its own, in threads or not."""
    data = walk()
    scores = [decoder(parameters, n_jobs=n).cross_validation(data, n_windows=2, step_size=H) for n in (1, 2)]
    assert_frame_equal(*scores)
    own = decoder(parameters).fit(data[:-H]).predict()
    last = scores[0].iloc[-H:]
    assert_array_equal(last[MODEL], own.to_numpy().reshape(H, -1)[:, 0])
    assert decoder(parameters).fit(data[:-H]).score(data[-H:]) < 0
    if parameters:
        assert (last[f"{MODEL}-lo-80"] < last[MODEL]).all()
        assert (last[MODEL] < last[f"{MODEL}-hi-80"]).all()


@pytest.mark.parametrize("autoregressive", [False, True])
def test_early_stopping_keeps_the_best_weights(autoregressive):
    model = decoder(
        validation_fraction=0.2, max_steps=800, hidden_size=8, learning_rate_init=0.02,
        autoregressive=autoregressive,
    ).fit(walk(200))  # fmt: skip
    network = model.regressor_
    assert network.best_validation_score_ == max(network.validation_scores_)
    assert network.n_iter_ < network.max_iter


# --- what cannot be ---------------------------------------------------------------------------------
REFUSED = {
    "answers without a decoder": (
        {"strategy": "direct", "autoregressive": True},
        """autoregressive=True is of strategy="encoder_decoder", not 'direct'""",
    ),
    "no network": ({"regressor": Ridge()}, "which Ridge has not"),
    "pooling": (
        {"regressor": GRURegressor(pooling="mean")},
        "pooling='mean' of the regressor: a decoder begins in the last states",
    ),
    "chunks": ({"regressor": GRURegressor(tbptt_steps=5)}, "tbptt_steps=5 of the regressor"),
    "tokens": ({"regressor": GRURegressor(embedding_size=3)}, "embedding_size=3 of the regressor"),
    "odd halves": (
        {"regressor": GRURegressor(5, bidirectional=True)},
        "half of the encoder's hidden_size=5 units read backwards",
    ),
    "windows held back of histories": ({"lags": None, "validation_fraction": 0.2}, "set lags"),
    "scales of windows of histories": ({"lags": None, "scale_by": "window"}, "set lags"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_training(name):
    parameters, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        decoder(parameters).fit(walk())
    with pytest.raises(ValueError, match=re.escape(message)):
        decoder(parameters).cross_validation(walk(), n_windows=2)


def test_a_series_that_is_too_short():
    with pytest.raises(ValueError, match="lags=5 with a horizon of 3 needs at least 8"):
        decoder().fit(walk(7))
    with pytest.raises(ValueError, match="a horizon of 3 needs at least 4"):
        decoder(lags=None).fit(walk(3))


def test_a_network_of_pairs_answers_nothing_else():
    model = LSTMForecaster(**QUICK | DECODER).fit(walk())
    network, (X, _) = model.regressor_, pairs_of()
    for call in network.stream, lambda: network.hidden_states(X), lambda: network.partial_fit(X, X):
        with pytest.raises(ValueError, match="reads pairs"):
            call()
    with pytest.raises(TypeError, match="X has to be Pairs, got ndarray"):
        network.predict(np.zeros((2, LAGS, 1)))
    with pytest.raises(ValueError, match="expected 1 features and 3 steps"):
        network.predict(X)

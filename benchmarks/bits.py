"""What configurations compute, as digests: run by file path on the package of any tree, of which it needs no
more than the public names. `benchmarks.same_bits` draws the configurations and compares the digests.

    PYTHONPATH=tree python -P benchmarks/bits.py tree < configurations.json
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import skrnn
import skrnn.forecasting

Parts = dict[str, str]  # the digest of each part


# --- digests --------------------------------------------------------------------------------------
def digest(*values: Any) -> str:
    """Of all bytes, types and shapes."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if hasattr(value, "pooled"):
            value = [value.h, value.c, value.pooled]
        if isinstance(value, pd.Series | pd.DataFrame):
            frame = value.reset_index()
            value = [[repr(name), frame[name].to_numpy()] for name in frame]
        if isinstance(value, dict):
            value = [[name, value[name]] for name in sorted(value)]
        if isinstance(value, np.ndarray) and value.dtype != object:
            found.update(f"{value.dtype} {value.shape} ".encode() + value.tobytes())
        elif isinstance(value, list | tuple | np.ndarray):
            found.update(f"{len(value)} of ".encode())
            for each in value:
                add(each)
        else:
            found.update(f"{value!r} ".encode())  # of floats exact

    add(values)
    return found.hexdigest()


def learnt(regressor: Any) -> Parts:
    return {
        "weights": digest(regressor.weights_),
        "losses": digest(regressor.loss_curve_, regressor.validation_scores_),
    }


# --- estimators -----------------------------------------------------------------------------------
def data_of(seed: int, n: int, T: int, F: int, ragged: bool, rows: bool, kind: str, loss: str, k: int,
            per_step: bool, weights: str) -> tuple[Any, Any, Any]:  # fmt: skip
    """(X, y, sample_weight); k: targets, 0 for a flat y, or classes or labels."""
    rng = np.random.RandomState(seed)
    lengths = rng.randint(1, T + 1, n) if ragged else np.full(n, T)
    X = [rng.standard_normal((length, F)).astype(kind) for length in lengths]
    counts = lengths if per_step else np.ones(n, int)
    m = counts.sum()
    if loss == "sets":
        y = rng.permutation(np.arange(m * k) % 2).reshape(m, k)
    elif loss in ("binary", "multiclass"):
        y = np.array(list("cabed"))[rng.permutation(m) % k]
    else:
        y = rng.standard_normal((m, k) if k else m)
        y = np.floor(np.exp(y)) if loss == "poisson" else y + X[0][0, 0]
    w = rng.randint(0, 4, m if weights == "per step" else n) / 2

    def split(flat: Any) -> Any:
        parts = np.split(flat, np.cumsum(counts)[:-1])
        return parts if ragged else np.array(parts)

    y = split(y) if per_step else y
    w = None if weights == "none" else split(w) if weights == "per step" else w
    return X if ragged else np.array(X).reshape((n, -1) if rows else (n, T, F)), y, w


def fit(config: dict[str, Any], X: Any, y: Any, w: Any) -> Any:
    return getattr(skrnn, config["estimator"])(**config["params"]).fit(X, y, w)


def of_estimator(config: dict[str, Any], parts: Parts) -> None:
    X, y, w = data_of(**config["data"])
    model = fit(config, X, y, w)
    parts |= learnt(model)
    if config["then"]:
        more = model.partial_fit if config["then"] == "partial_fit" else model.set_params(warm_start=True).fit
        more(X, y, sample_weight=w)
        parts |= {f"{name} after {config['then']}": found for name, found in learnt(model).items()}
    methods = [name for name in ("predict", "predict_proba", "decision_function") if hasattr(model, name)]
    if config["data"]["loss"] == "quantile":
        methods.append("predict_quantiles")
    parts["predictions"] = digest([getattr(model, name)(X) for name in methods], model.score(X, y, w))
    states = [model.hidden_states(X)]
    if model.bidirectional or config["params"].get("linear_skip"):
        parts["states"] = digest(states)
        return
    steps = [x.reshape(-1, config["data"]["F"]) for x in X]
    shortest, state = min(map(len, steps)), None
    pieces = [X, X]  # rows are of one length
    if not config["data"]["rows"]:
        container = list if config["data"]["ragged"] else np.array
        pieces = [container([x[part] for x in X]) for part in (slice(shortest), slice(shortest - 1, None))]
    for piece in pieces:
        answer, state = model.predict_with_state(piece, state)
        states.append((answer, state))
    parts["states"] = digest(states)
    streams = [model.stream(len(steps), name) for name in methods]
    answers = [stream.step(np.array([x[t] for x in steps])) for t in range(shortest) for stream in streams]
    parts["streams"] = digest(answers, [stream.state for stream in streams])


# --- forecasters ----------------------------------------------------------------------------------
def of_forecaster(config: dict[str, Any], parts: Parts) -> None:
    params, data = config["params"], config["data"]
    rng, form, T, h = np.random.RandomState(data["seed"]), data["form"], data["T"], params["h"]
    stamps = pd.date_range("2024-01-29", periods=T + 3 + h, name="ds")
    walks = 9 + np.abs(rng.standard_normal((len(stamps), data["n_series"])).cumsum(axis=0))
    wide = pd.DataFrame(walks, stamps, [f"s{i}" for i in range(data["n_series"])])
    shared = pd.DataFrame(rng.random_sample((len(stamps), 2)), stamps, ["known", "seen"])
    if data["gaps"]:
        wide.iloc[5:7, 0] = np.nan

    shared = shared[[name for name in shared if name in (params["futr_exog"], params["hist_exog"])]]

    def piece(first: int, stop: int) -> Any:
        own = wide[first:stop]
        if form != "long":
            return own["s0"] if form == "series" else own.join(shared)
        own = own.melt(var_name="unique_id", value_name="y", ignore_index=False).join(shared).reset_index()
        return own.assign(kind=np.where(own["unique_id"].isin(["s0", "s3"]), "of some", "of others"))

    def ahead(first: int) -> Any:
        return None if params["futr_exog"] is None else piece(first, first + h)

    model = getattr(skrnn.forecasting, config["estimator"])(**params).fit(piece(0, T))
    parts |= learnt(model.regressor_)
    parts["predictions"] = digest(model.predict(X_df=ahead(T)))
    model.update(piece(T, T + 3), max_steps=data["more_steps"])
    parts |= {f"{name} after update": found for name, found in learnt(model.regressor_).items()}
    parts["predictions after update"] = digest(model.predict(X_df=ahead(T + 3)))
    if data["folds"]:
        parts["cross_validation"] = digest(model.cross_validation(piece(0, T), data["folds"], refit=2))


# --- the process ----------------------------------------------------------------------------------
def parts_of(config: dict[str, Any]) -> Parts:
    """The digests of a configuration, up to an error if there is one, which is then among them."""
    parts: Parts = {}
    work = of_forecaster if config["estimator"].endswith("Forecaster") else of_estimator
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            work(config, parts)
    except Exception as error:  # whatever it is, the other tree has to raise it too
        parts["error"] = f"{type(error).__name__}: {error}"
    return parts


def main() -> None:
    if not Path(skrnn.__file__).is_relative_to(sys.argv[1]):
        sys.exit(f"skrnn is that of {skrnn.__file__}, not of {sys.argv[1]}")
    configs, lines = json.load(sys.stdin), sys.stdout
    sys.stdout = sys.stderr  # lines of digests are all that is printed
    if any(config["params"]["device"] == "cuda" for config in configs):
        try:
            skrnn.RNNRegressor(1, max_iter=1, device="cuda").fit(np.zeros((2, 1, 1)), [0, 1])
        except RuntimeError as error:
            sys.exit(f'device="cuda" cannot be used here: {error}')
    for config in configs:
        print(json.dumps(parts_of(config)), file=lines, flush=True)


if __name__ == "__main__":
    main()

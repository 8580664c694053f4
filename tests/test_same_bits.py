"""The command that compares the bits of two trees: a few small configurations, and no second tree."""

from pathlib import Path

import numpy as np
import pytest
from numba.core import config as numba_config

from benchmarks import bits, same_bits

PLAIN = {
    "activation": "tanh", "hidden_size": 5, "num_layers": 1, "bidirectional": False, "pooling": "mean",
    "recurrent_dropout": 0.0, "solver": "adam", "dtype": "float32",
}  # fmt: skip


def plain(config):
    """The same with a network of few kernels, which are compiled within seconds."""
    kind = config["estimator"].removeprefix("LSTM").removeprefix("GRU").removeprefix("RNN")
    known = config["params"] if kind == "Forecaster" else config["params"] | PLAIN
    return config | {"estimator": f"RNN{kind}", "params": known | {"hidden_size": 5}}


DRAWN = list(map(plain, same_bits.configurations(20, 0, "cpu", False)))
CONFIGS = [config for config in DRAWN if "then" in config][:5]
CONFIGS += [config for config in DRAWN if "then" not in config][:1]


def test_what_is_drawn():
    """The same every time; and of all that there is."""
    configs = same_bits.configurations(300, 0, "cpu", True)
    assert configs == same_bits.configurations(300, 0, "cpu", True)
    assert configs[:20] != same_bits.configurations(20, 1, "cpu", True)
    drawn = {}
    for config in configs:
        for name, value in (config["params"] | config["data"] | {"estimator": config["estimator"]}).items():
            drawn.setdefault(name, set()).add(str(value))
    cells, kinds = ("RNN", "LSTM", "GRU"), ("Regressor", "Classifier", "Forecaster")
    assert drawn["estimator"] == {f"{cell}{kind}" for cell in cells for kind in kinds}
    assert drawn["activation"] == {"tanh", "relu", "sigmoid"}
    assert drawn["loss"] == {*same_bits.REGRESSION, *same_bits.CLASSIFICATION}
    assert drawn["solver"] == {*same_bits.SOLVERS}
    assert drawn["pooling"] == {*same_bits.POOLINGS}
    assert drawn["dtype"] == {"float32", "float64", "bfloat16"}
    assert drawn["weights"] == {"none", "per sequence", "per step"}
    for name in (
        "reset_after",
        "bidirectional",
        "return_sequences",
        "linear_skip",
        "ragged",
        "early_stopping",
    ):
        assert drawn[name] == {"True", "False"}, name
    assert max(map(int, drawn["hidden_size"])) > 64
    for config in same_bits.configurations(50, 0, "cuda", False):
        assert config["params"]["device"] == "cuda"
        assert config["params"]["hidden_size"] <= 5


@pytest.mark.long
def test_the_same_tree_twice(monkeypatch, capsys):
    monkeypatch.setattr(
        same_bits, "kernels_of", lambda tree: numba_config.CACHE_DIR
    )  # they are compiled already
    here = [bits.parts_of(config) for config in CONFIGS]
    assert {part for parts in here for part in parts} >= {
        "weights",
        "losses",
        "predictions",
        "states",
        "streams",
    }
    assert not any("error" in parts for parts in here)
    assert same_bits.same(CONFIGS, here, same_bits.run(same_bits.HERE, CONFIGS))
    assert capsys.readouterr().out == "0 of 6 configurations differ; 0 end in an error\n"


@pytest.mark.parametrize("number", [0, 1])
def test_the_last_bit_of_one_weight(monkeypatch, capsys, number):
    configs = CONFIGS[:2]
    before = [bits.parts_of(config) for config in configs]
    fit = bits.fit

    def changed(config, X, y, w):
        model = fit(config, X, y, w)
        if config == configs[number]:
            bias = model.weights_["head.bias"].copy()
            bias[0] = np.nextafter(bias[0], np.float32(9))
            model.set_weights(model.weights_ | {"head.bias": bias})
        return model

    monkeypatch.setattr(bits, "fit", changed)
    after = [bits.parts_of(config) for config in configs]
    assert not same_bits.same(configs, before, after)
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{number}: weights")
    assert first.endswith(f" of {configs[number]}")
    assert last.startswith("1 of 2 ")


def test_errors_are_compared_and_may_be_few(capsys):
    broken = CONFIGS[0] | {"params": CONFIGS[0]["params"] | {"hidden_size": 0}}
    found = bits.parts_of(broken)
    assert list(found) == ["error"]
    assert found["error"].startswith("InvalidParameterError: The 'hidden_size' parameter")
    assert not same_bits.same([broken], [found], [found])  # nothing was compared
    assert same_bits.same([broken] * 10, [found] + [{}] * 9, [found] + [{}] * 9)
    assert not same_bits.same([broken] * 10, [found] + [{}] * 9, [{}] * 10)
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "    no error",
        "1 of 10 configurations differ; 1 end in an error",
    ]


@pytest.mark.parametrize(
    "value",
    [np.zeros(2), np.zeros(2, np.float32), -np.zeros(2), np.zeros((2, 1)), [0.0, 0.0], [[0.0], 0.0], None,
     {"a": 0}, {"b": 0}, np.array([np.zeros(2), np.zeros(1)], object)],
)  # fmt: skip
def test_a_digest_tells_apart(value):
    others = [np.ones(2), [0.0, -0.0], "None", {"a": 1}, np.array([np.zeros(1), np.zeros(2)], object)]
    assert bits.digest(value) == bits.digest(value)
    assert bits.digest(value) not in map(bits.digest, others)


def test_a_tree_that_breaks_off_says_so(tmp_path):
    with pytest.raises(SystemExit, match=r"broke off with 1 on .*, after 0 configurations"):
        same_bits.run(Path(tmp_path), CONFIGS[:1])

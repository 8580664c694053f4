import sys

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrnn.display import LossCurveDisplay


class Fitted(BaseEstimator):
    def __init__(self, validate=True):
        self.validate = validate

    def fit(self, X=None, y=None):
        self.loss_curve_ = [0.9, 0.5, 0.3]
        scores = [0.1, 0.4, 0.6] if self.validate else [np.nan] * 3
        self.history_ = {"validation_score": np.array(scores)}
        return self


@pytest.fixture
def plt():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def test_loss_and_validation_score(plt):
    display = LossCurveDisplay.from_estimator(Fitted().fit())
    assert isinstance(display, LossCurveDisplay)
    loss, score = display.lines_
    assert loss.get_xdata().tolist() == [1, 2, 3]
    assert loss.get_ydata().tolist() == [0.9, 0.5, 0.3]
    assert score.get_ydata().tolist() == [0.1, 0.4, 0.6]
    assert loss.axes is display.ax_
    assert score.axes is display.validation_ax_ is not display.ax_
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_xlabel() == "Epoch"
    assert display.validation_ax_.get_ylabel() == "Validation score"
    assert len(display.ax_.get_legend().get_texts()) == 2


def test_without_validation(plt):
    display = LossCurveDisplay.from_estimator(Fitted(validate=False).fit())
    assert len(display.lines_) == 1
    assert display.validation_ax_ is None
    assert len(display.figure_.axes) == 1


def test_given_axes_style_and_names(plt):
    _, ax = plt.subplots()
    display = LossCurveDisplay(loss_curve=[1.0], validation_scores=[0.5], validation_name="R2").plot(
        ax, loss_kwargs={"color": "black"}, validation_kwargs={"label": "held out"}
    )
    assert display.ax_ is ax
    assert display.lines_[0].get_color() == "black"
    assert display.lines_[1].get_label() == "held out"
    assert display.validation_ax_.get_ylabel() == "R2"


def test_pipeline(plt):
    pipeline = make_pipeline(StandardScaler(), Fitted(validate=False)).fit(np.ones((2, 1)))
    assert LossCurveDisplay.from_estimator(pipeline).lines_[0].get_ydata()[0] == 0.9


def test_not_fitted():
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(Fitted())


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skrnn\[plot\]"'):
        LossCurveDisplay.from_estimator(Fitted().fit())

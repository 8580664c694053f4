"""From a CSV file with a date column to a plotted forecast with intervals, in ten lines.

The file is written first: the monthly temperature of the sea off Peru, 1950 to 2010 (El Nino, from
statsmodels). The ten lines learn it, print the two years to come with 80 and 95 % intervals and save the
plot under examples/output. What follows asks whether to trust them: the same model, fitted on what came
before, forecasts the last ten years from ten cutoffs; printed are its error in units of the mean change from
one year to the next (MASE), and how many true values the intervals held.
"""

from pathlib import Path

from statsmodels.datasets import elnino

output = Path(__file__).parent / "output"
output.mkdir(exist_ok=True)
csv, png = output / "sea.csv", output / "forecast_csv.png"
years = elnino.load_pandas().data.melt("YEAR", var_name="month", value_name="degrees")
years["date"] = years["YEAR"].astype(int).astype(str) + "-" + years["month"].str.title()
years.sort_values("YEAR", kind="stable")[["date", "degrees"]].to_csv(csv, index=False)

# The ten lines. What to read and in which scale the forecaster chooses by itself.
import pandas as pd  # noqa: E402

from skrnn.forecasting import LSTMForecaster, evaluate  # noqa: E402

sea = pd.read_csv(csv, index_col="date", parse_dates=True, date_format="%Y-%b")["degrees"]
model = LSTMForecaster(h=24, level=[80, 95], random_state=0)
forecast = model.fit(sea).predict()
print(forecast.round(1))
model.plot().figure_.savefig(png, dpi=150)
print(f"plot saved: {png}")

backtests = model.cross_validation(sea, n_windows=10, step_size=12, refit=False)
scores = evaluate(backtests, ["mae", "mase", "coverage"], train=sea, seasonality=12)
print(f"\nten cutoffs, one year apart:\n{scores.round(2)}")

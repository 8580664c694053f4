"""The same with Nixtla's neuralforecast. ``with_neuralforecast.py IN.csv OUT.csv H SEED [alike]``.

As its users start, with the defaults; or `alike`: with the window, the size and the updates of ours.
"""

import sys

import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.models import LSTM

source, target, h, seed, *alike = sys.argv[1:]
settings = {}
if alike:
    settings = {"input_size": 52, "encoder_hidden_size": 32, "encoder_n_layers": 1, "batch_size": 64,
                "windows_batch_size": 64, "scaler_type": "standard", "learning_rate": 2e-3,
                "max_steps": 1000}  # fmt: skip
settings |= {"random_seed": int(seed), "accelerator": "cpu", "enable_progress_bar": False, "logger": False}
train = pd.read_csv(source)
model = NeuralForecast([LSTM(h=int(h), **settings)], freq=1)
model.fit(train)
model.predict().reset_index()[["unique_id", "ds", "LSTM"]].to_csv(target, index=False)

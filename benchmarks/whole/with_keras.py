import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np

from benchmarks.whole import BATCH, EPOCHS, LEARNING_RATE, F, H, T, data

keras.utils.set_random_seed(0)
X, y = data()
model = keras.Sequential([keras.Input((T, F)), keras.layers.LSTM(H), keras.layers.Dense(1)])
model.compile(keras.optimizers.Adam(LEARNING_RATE, global_clipnorm=1.0), loss="mse")
model.fit(X, y, batch_size=BATCH, epochs=EPOCHS, verbose=0)
print(np.mean((model.predict(X, verbose=0)[:, 0] - y) ** 2))

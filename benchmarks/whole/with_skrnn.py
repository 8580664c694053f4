import numpy as np

from benchmarks.whole import BATCH, EPOCHS, LEARNING_RATE, H, data
from skrnn import LSTMRegressor

X, y = data()
model = LSTMRegressor(
    H,
    batch_size=BATCH,
    learning_rate_init=LEARNING_RATE,
    max_iter=EPOCHS,
    n_iter_no_change=EPOCHS,
    max_grad_norm=1.0,
    alpha=0.0,
    random_state=0,
)
model.fit(X, y)
print(np.mean((model.predict(X) - y) ** 2))

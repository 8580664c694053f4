import torch

from benchmarks.whole import BATCH, EPOCHS, LEARNING_RATE, F, H, data

torch.manual_seed(0)
X, y = map(torch.from_numpy, data())
y = y[:, None]
lstm, head = torch.nn.LSTM(F, H, batch_first=True), torch.nn.Linear(H, 1)
params = [*lstm.parameters(), *head.parameters()]
adam = torch.optim.Adam(params, lr=LEARNING_RATE, fused=True)
for _ in range(EPOCHS):
    for batch in torch.randperm(len(X)).split(BATCH):
        adam.zero_grad()
        _, (h, _) = lstm(X[batch])
        torch.nn.functional.mse_loss(head(h[-1]), y[batch]).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        adam.step()
with torch.inference_mode():
    _, (h, _) = lstm(X)
    print(float(torch.nn.functional.mse_loss(head(h[-1]), y)))

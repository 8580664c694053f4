"""Networks that read tokens: `python -m benchmarks.tokens.accuracy` on real data, `python -m
benchmarks.tokens.speed` for training steps. Both write parts of ``results/TOKENS.md``."""

"""Networks that read tokens: `python -m benchmarks.tokens.accuracy` on real data, `python -m
benchmarks.tokens.speed` for training steps; both have parts in ``results/TOKENS.md``."""

"""What stored rows say: trends, derived metrics, signals, portfolios and backtests. Pure: frames in, results out."""

"""Technical indicators on closed candles: the arithmetic (pure) and the service that decides what to recompute."""

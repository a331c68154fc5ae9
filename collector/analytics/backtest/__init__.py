"""Backtests: what a strategy would have earned on stored bars, told with its costs, its holes and a look-ahead test."""

"""Crypto Data Collector: market data from public providers into PostgreSQL, every cycle."""

__version__ = "0.1.0"

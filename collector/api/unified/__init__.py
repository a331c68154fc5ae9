"""The unified endpoints: prices, candles, sentiment and the market in one shape, whoever the data comes from."""

from collector.api.unified.routes import router

__all__ = ["router"]

"""The registry of sources: one line per source; order has no meaning."""

from collector.sources.alternative_me import AlternativeMeCollector
from collector.sources.base import Collector
from collector.sources.binance_futures import BinanceFuturesCollector
from collector.sources.binance_spot import BinanceSpotCollector
from collector.sources.coincap import CoincapCollector
from collector.sources.coingecko import CoingeckoCollector
from collector.sources.kraken import KrakenCollector
from collector.sources.okx import OkxCollector

SOURCES: dict[str, type[Collector]] = {
    "alternative_me": AlternativeMeCollector,
    "binance_futures": BinanceFuturesCollector,
    "binance_spot": BinanceSpotCollector,
    "coincap": CoincapCollector,
    "coingecko": CoingeckoCollector,
    "kraken": KrakenCollector,
    "okx": OkxCollector,
}

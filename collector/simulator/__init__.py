"""The product's own simulator: CoinGecko, Binance USD-M futures and OKX on loopback, from one deterministic market."""

from collector.simulator.faults import Fault, Faults
from collector.simulator.markets import Market
from collector.simulator.venues import Interceptor, Simulator

__all__ = ["Fault", "Faults", "Interceptor", "Market", "Simulator"]

"""The simulated market that the cycle benchmarks work on, and what the providers' documents say of their limits.

The weights and windows are written down here once more and are not taken from the collector.
"""

import json
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.scratch import SimulatorProcess, scratch_tree
from collector.config import Layer, Settings, load_settings
from collector.records import CycleState
from collector.wiring import open_collecting

ASSETS = 450
SOURCES = ("coingecko", "binance_futures", "okx")
VENUES = ("binance_futures", "okx")
RESERVE = 0.05  # the share of every limit that the collector leaves unused
BINANCE_WEIGHTS = {"depth": 2, "openInterest": 1, "klines": 1, "ticker/24hr": 40, "premiumIndex": 10, "exchangeInfo": 1}
BINANCE = (2400, 60.0)
OKX = {
    "market/candles": (40, 2.0),
    "market/books": (40, 2.0),
    "market/tickers": (20, 2.0),
    "market/history-candles": (20, 2.0),
    "public/instruments": (20, 2.0),
    "public/mark-price": (10, 2.0),
    "public/funding-rate": (10, 2.0),
    "public/open-interest": (20, 2.0),
}
COINGECKO = (30, 60.0)
SCOPES = {
    "coingecko": ("calls",),
    "binance_futures": ("weight",),
    "okx": ("candles", "books", "tickers", "history_candles", "mark_price", "funding_rate", "open_interest"),
}
# What a cycle reads of each instrument; nothing else is collected.
DATASETS = ("instruments", "tickers", "mark_prices", "open_interest", "order_books", "candles", "funding_forecasts")
LEVELS = 50
MARGIN = 30  # ranks that simulated prices may move a coin by meanwhile


@dataclass(frozen=True, slots=True)
class Universe:
    """What is followed: settings for the collector, and the venues' own symbols for everybody else."""

    settings: dict[str, Any]
    symbols: dict[str, list[str]]  # venue -> symbols


def forced_s(requests: Mapping[str, int], latency_s: float) -> float:
    """Return the seconds that the limits force on these requests ("venue path" -> count).

    A window takes its limit less the reserve at once; what exceeds it waits for the next one. Scopes and providers run
    side by side, so the slowest decides; the last call still needs its answer.
    """
    spent: dict[str, tuple[int, int, float]] = {}  # scope -> (weight, limit, window)
    for call, count in requests.items():
        venue, _, path = call.partition(" ")
        scope, weight, (limit, window) = venue, 1, COINGECKO
        if venue == "binance_futures":
            weight, (limit, window) = BINANCE_WEIGHTS[path.partition("/fapi/v1/")[2]], BINANCE
        elif venue == "okx":
            name = path.partition("/api/v5/")[2]
            scope, (limit, window) = f"okx {name}", OKX[name]
        spent[scope] = (spent.get(scope, (0, 0, 0.0))[0] + weight * count, limit, window)
    waits = [window * ((weight - 1) // int(limit * (1 - RESERVE) + 1e-9)) for weight, limit, window in spent.values()]
    return max(waits) + latency_s


def weight_of(requests: Mapping[str, int]) -> int:
    """Return the weight that requests took at Binance, and a call for a call elsewhere."""
    paths = (call.partition(" /fapi/v1/")[2] for call in requests)
    return sum(BINANCE_WEIGHTS.get(path, 1) * count for path, count in zip(paths, requests.values(), strict=True))


def state(addresses: Mapping[str, str]) -> dict[str, Any]:
    """Return the simulator's own counts: requests by "venue path" and refusals."""
    root = addresses["okx"].rpartition("/")[0]
    with urllib.request.urlopen(f"{root}/_simulator/state", timeout=10) as answer:  # noqa: S310 - loopback
        return dict(json.load(answer))


def tree(folder: Path, addresses: Mapping[str, str], *, limits: bool, history: int) -> dict[str, Any]:
    """Return settings for a scratch folder in which the three providers are asked for what a cycle reads."""
    made = scratch_tree(folder, addresses)
    for name, part in made["sources"].items():
        part["enabled"] = name in SOURCES
        if not limits and name in SCOPES:
            part["limits"] = {scope: {"capacity": 1_000_000, "window": "1s"} for scope in SCOPES[name]}
    for name in VENUES:
        datasets: dict[str, Any] = {dataset: {"enabled": False} for dataset in ("funding", "funding_terms")}
        datasets["candles"] = {"history": history, "intervals": ["1m"]}
        made["sources"][name]["datasets"] = datasets
    made["sources"]["okx"]["datasets"].pop("funding_terms")
    return made


def settings_of(made: Mapping[str, Any], universe: Mapping[str, Any]) -> Settings:
    """Return the shipped settings with these laid over them."""
    return load_settings(environment={}, overrides=(Layer("benchmark", {**made, "universe": dict(universe)}),))[0]


def exact_universe(simulated: SimulatorProcess, *, coins: int, each: Mapping[str, int]) -> Universe:
    """Return a universe in which exactly so many perpetuals of each venue are followed.

    One instrument per coin and venue is chosen by itself. After a look at that choice the numbers are filled up with
    further contracts, or cut; those of coins near the last rank are named, so that a change of ranks changes nothing.
    """
    with tempfile.TemporaryDirectory(prefix="bench-look-") as folder:
        made = tree(Path(folder), simulated.addresses, limits=True, history=1)
        for name in VENUES:
            for dataset in ("order_books", "candles", *(["open_interest"] if name == "binance_futures" else [])):
                made["sources"][name]["datasets"][dataset] = {"enabled": False}
        with open_collecting(settings_of(made, {"top": coins}), lambda _: None) as collecting:
            report = collecting.runner.run("market")
            if report.state is not CycleState.OK:
                raise RuntimeError(f"the look at the market failed: {report}")
            stored = collecting.reader.load_instruments()
            safe = {row.asset_id for row in collecting.reader.load_assets() if row.rank and row.rank <= coins - MARGIN}
    include: list[str] = []
    exclude: list[str] = []
    symbols: dict[str, list[str]] = {}
    for venue, count in each.items():
        mine = [
            row for row in stored if row.instrument.venue == venue and row.tradable and row.instrument.kind == "perp"
        ]
        chosen = [row.instrument for row in mine if row.followed and row.asset_id in safe]
        others = [row.instrument for row in mine if row.category == "crypto" and row.instrument not in chosen]
        wanted = [*chosen, *others][:count]
        include += [item.id for item in others if item in wanted]
        exclude += [row.instrument.id for row in mine if row.instrument not in wanted]
        symbols[venue] = sorted(item.venue_symbol for item in wanted)
    return Universe({"top": coins, "include_instruments": include, "exclude_instruments": exclude}, symbols)

"""A year of bars by `freqtrade download-data`, its start included, into its own files (feather, the default).

Its public archives (data.binance.vision) cannot be had from a simulator, so `only_from_ccxt` is set, which is its way
for everything but Binance's short intervals. Its throttler is off, as every limit is.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.launch import program
from benchmarks.sides.year import UNTIL, since, told

NUMBERS = ("open", "high", "low", "close", "volume")


def settings(work: Mapping[str, Any]) -> dict[str, Any]:
    """Return the least that download-data wants to know, with the simulator's addresses."""
    addresses = {"public": f"{work['spot']}/api/v3", "v1": f"{work['spot']}/api/v1"}
    return {
        "dry_run": True,
        "stake_currency": "USDT",
        "timeframe": "1m",
        "entry_pricing": {"price_side": "same"},
        "exit_pricing": {"price_side": "same"},
        "pairlists": [{"method": "StaticPairList"}],
        "exchange": {
            "name": "binance",
            "only_from_ccxt": True,
            "enable_ws": False,
            "pair_whitelist": ["BTC/USDT"],
            "ccxt_config": {
                "enableRateLimit": False,
                "options": {"fetchMarkets": {"types": ["spot"]}},
                "urls": {"api": addresses},
            },
        },
    }


class Freqtrade:
    """The program in a process of its own each round, with an empty data folder."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.days = int(work["days"])
        self.until_s = int(UNTIL.timestamp())
        self.folder = tempfile.TemporaryDirectory(prefix="bench-freqtrade-")
        self.home = Path(self.folder.name)
        (self.home / "config.json").write_text(json.dumps(settings(work)), encoding="utf-8")
        self._program("create-userdir", "--userdir", str(self.home / "user"))

    def prepare(self, _phase: str) -> None:
        shutil.rmtree(self.home / "user" / "data")
        (self.home / "user" / "data").mkdir()

    def run(self, _phase: str) -> None:
        words = ["--config", str(self.home / "config.json"), "--userdir", str(self.home / "user")]
        span = f"{since(self.days):%Y%m%d}-{UNTIL:%Y%m%d}"
        self._program("download-data", *words, "--pairs", "BTC/USDT", "--timeframes", "1m", "--timerange", span)

    def answer(self, _phase: str) -> dict[str, Any]:
        (file,) = (self.home / "user" / "data").rglob("*.feather")
        frame = pd.read_feather(file)
        opened = (frame["date"] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1)
        inside = opened < self.until_s  # it rounds the end up to whole pages
        columns = [frame.loc[inside, name].tolist() for name in NUMBERS]
        return told(zip(opened[inside].tolist(), *columns, strict=True))

    def close(self) -> None:
        self.folder.cleanup()

    @staticmethod
    def _program(*words: str) -> None:
        program(str(Path(sys.executable).with_name("freqtrade")), *words)


def open_side(work: Mapping[str, Any]) -> Freqtrade:
    return Freqtrade(work)

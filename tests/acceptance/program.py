"""The real command line as other processes, with settings of its own and a look into its database from outside."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import yaml
from sqlalchemy.engine import make_url

from collector.clock import SystemClock
from collector.config.loading import PLAIN_NAMES

REPOSITORY = Path(__file__).resolve().parents[2]
CLOCK = SystemClock()

_VENUE_DATASETS = {
    "instruments": {"cadence": "daily"},
    "tickers": {"cadence": "market"},
    "mark_prices": {"cadence": "market"},
    "open_interest": {"cadence": "market"},
    "candles": {"cadence": "market", "intervals": ["1m", "1h", "1d"], "history": 250},
    "order_books": {"cadence": "market", "levels": 20},
    "funding": {"cadence": "hourly", "lookback": "7d"},
}
SMALL: dict[str, Any] = {
    "universe": {"top": 4, "include": ["pepe"]},
    "http": {"healing_pct": 0},
    "cadences": {
        "market": {"every": "2s", "deadline": "30s"},  # as often as the weight of Binance allows
        "hourly": {"every": "1h", "deadline": "30s"},
        "daily": {"every": "1d", "deadline": "30s"},
    },
    "sources": {
        "coingecko": {
            "parallelism": 2,
            "limits": {"calls": {"capacity": 1000, "window": "1m"}},
            "datasets": {
                "listing": {"cadence": "daily"},
                "markets": {"cadence": "market"},
                "global": {"cadence": "market"},
                "asset_details": {"cadence": "hourly", "assets": 3},
                "market_history": {"cadence": "hourly", "assets": 3, "lookback": "5d"},
                "candles": {"cadence": "hourly", "assets": 3, "intervals": ["4h"]},
            },
        },
        "binance_futures": {"datasets": {**_VENUE_DATASETS, "funding_terms": {"cadence": "daily"}}},
        "okx": {"datasets": {**_VENUE_DATASETS, "funding_forecasts": {"cadence": "market"}}},
        "alternative_me": {"datasets": {"sentiment": {"cadence": "market"}}},
    },
    "indicators": {"intervals": ["1m", "1h", "1d"], "extra": [{"function": "CCI", "parameters": {"timeperiod": 20}}]},
}
"""Settings that collect everything of a few assets, fast."""
SOURCES = tuple(SMALL["sources"])
# An address where nobody listens: ports below 1024 are never given to whoever asks for a free one.
NOBODY = dict.fromkeys(SOURCES, "http://127.0.0.1:1")


def wait_until(condition: Callable[[], Any], what: str, limit_s: float = 40) -> Any:
    """Return the first true answer of `condition`; fail with `what` when the limit passes."""
    deadline = CLOCK.monotonic() + limit_s
    while CLOCK.monotonic() < deadline:
        if answer := condition():
            return answer
        CLOCK.sleep(0.02)
    raise AssertionError(f"{what}: not within {limit_s} s")


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    status: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """Return what was said on stderr, which must be one line."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


class Running:
    """A command that has not ended yet."""

    def __init__(self, process: "subprocess.Popen[str]", err: Path) -> None:
        self._process = process
        self._err = err

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def err(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash does, and wait until it is gone."""
        self._process.kill()
        self._process.wait(10)

    def ended(self, within_s: float) -> int:
        """Return the exit status; fail when it runs longer than allowed."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within_s} s:\n{self.err[-3000:]}") from None

    def stop(self, number: signal.Signals = signal.SIGTERM, within_s: float = 10) -> int:
        """Ask for a clean end and return the exit status."""
        self.send(number)
        return self.ended(within_s)


class Program:
    """One installation: settings file, environment, folders and the database it writes to."""

    def __init__(
        self,
        folder: Path,
        *,
        addresses: Mapping[str, str],
        url: str = "",
        settings: Mapping[str, Any] = SMALL,
        root: Path = REPOSITORY,
        **environment: str,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.url, self._root = folder, url, root
        self.logs = folder / "logs"
        self._config = folder / "settings.yaml"
        self._config.write_text(yaml.safe_dump(dict(settings), sort_keys=False), encoding="utf-8")
        self.environment = {
            **plain_environment(),
            "COLLECTOR_SIMULATED": "true",
            "COLLECTOR_API__ENABLED": "false",  # many run at once, and there is one port 8000
            "COLLECTOR_ANALYTICS__ENABLED": "false",  # its packages take seconds to load; test_analytics.py has it
            "COLLECTOR_ALERTS__ENABLED": "false",  # then nothing keeps house; test_housekeeping.py has it
            "COLLECTOR_DATA_DIR": str(folder / "data"),
            "COLLECTOR_LOGS__DIRECTORY": str(self.logs),
            **({"COLLECTOR_DATABASE__URL": url} if url else {}),
            **{f"COLLECTOR_SOURCES__{name.upper()}__BASE_URL": addresses[name] for name in SOURCES},
            **environment,
        }

    def command(self, *words: str, config: bool = True) -> list[str]:
        """Return the command line as a person would type it."""
        chosen = ["--config", str(self._config)] if config else []
        return [sys.executable, "main.py", *chosen, *words]

    def run(self, *words: str, limit_s: float = 60, config: bool = True, **environment: str) -> Result:
        """Run a command to its end."""
        started = CLOCK.monotonic()
        done = subprocess.run(
            self.command(*words, config=config),
            cwd=self._root,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr, CLOCK.monotonic() - started)

    @contextmanager
    def running(self, *words: str, **environment: str):
        """Lend a command that keeps running; it is killed at the end if it has not ended by itself."""
        number = len(list(self.folder.glob("stderr.*")))
        err = self.folder / f"stderr.{number}"
        with err.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                self.command(*words),
                cwd=self._root,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                text=True,
            )
        try:
            yield Running(process, err)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(10)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement in a connection of our own and return its rows."""
        with closing(connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            found = cursor.fetchall() if cursor.description else []
            connection.commit()
            return found

    def value(self, statement: str, *values: Any) -> Any:
        return self.rows(statement, *values)[0][0]

    def cycles(self) -> list[tuple[str, str]]:
        """Return (cadence, state) of every cycle, oldest first."""
        return self.rows("SELECT cadence, state FROM cycles ORDER BY cycle_id")

    def ended_cycles(self, cadence: str) -> int:
        """Return how many cycles of a cadence came to an end of their own."""
        return self.value(
            "SELECT count(*) FROM cycles WHERE cadence = %s AND state IN ('ok', 'partial', 'failed')", cadence
        )

    def report(self) -> Any:
        """Return the report of the newest cycle's folder."""
        return json.loads((self.logs / "latest" / "report.json").read_text(encoding="utf-8"))


def plain_environment() -> dict[str, str]:
    """Return our environment without settings of the product and without proxies."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("COLLECTOR_") and not name.upper().endswith("_PROXY") and name not in PLAIN_NAMES
    }


def connect(url: str, **options: Any) -> Any:
    """Open a connection with times in UTC."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg2.connect(plain, options="-c timezone=UTC", application_name="test", **options)
    connection.set_session(autocommit=False)
    return connection


def part(report: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """Return one source's part of a cycle's report."""
    return next(item for item in report["sources"] if item["source"] == source)


def changed(settings: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """Return a copy of nested settings with one value replaced."""
    head, *rest = path
    inner = changed(settings.get(head, {}), rest, value) if rest else value
    return {**settings, head: inner}

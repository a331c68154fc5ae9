"""What the simulator's wire tests share: a frozen moment and one kept-alive HTTP connection."""

import http.client
import json
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from collector.simulator import Simulator

MINUTE = 60_000
HOUR = 3_600_000
DAY = 86_400_000
MIDNIGHT = 1_767_225_600_000  # 2026-01-01T00:00:00Z
NOW = MIDNIGHT + 12 * HOUR + 34_567


def frozen() -> Simulator:
    """Return a simulator whose market stands still at NOW and refuses nobody."""
    return Simulator(seed=7, limits=False, now_ms=lambda: NOW)


class Client:
    """One kept-alive connection; numbers with a point are read as exact decimals."""

    def __init__(self, simulator: Simulator) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=10)

    def get(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> tuple[int, Any, dict[str, str]]:
        target = f"{path}?{urlencode(query)}" if query else path
        self._connection.request("GET", target, headers=headers or {})
        response = self._connection.getresponse()
        body = response.read()
        found = {name.lower(): value for name, value in response.getheaders()}
        decoded = json.loads(body, parse_float=Decimal) if "json" in found["content-type"] else body
        return response.status, decoded, found

    def close(self) -> None:
        self._connection.close()

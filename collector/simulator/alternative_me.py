"""The Fear & Greed Index on the wire: numbers as text, newest first, two days missing as in the real one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from collector.simulator.noise import key, keys, value_noise
from collector.simulator.series import DAY_MS
from collector.simulator.wire import Response, json_response

FIRST_DAY = 17_563  # 2018-02-01, in days since 1970
MISSING_DAYS = frozenset({17_635, 20_022})  # 2018-04-14 and 2024-10-26
PERIOD = 20  # days in which the mood turns
# The bounds that fit the values seen in real answers.
_WORDS = ((25, "Extreme Fear"), (46, "Fear"), (54, "Neutral"), (75, "Greed"), (100, "Extreme Greed"))


class AlternativeMe:
    """Answers GET /fng/."""

    def __init__(self, seed: int) -> None:
        self._keys = keys([key(seed, "mood")])

    def answer(self, path: str, query: Mapping[str, str], now_ms: int) -> Response:
        """Return the newest `limit` days, all of them for 0."""
        if path.rstrip("/") != "/fng":
            return json_response({"error": "Not Found"}, 404)
        limit = query.get("limit", "1")
        if not limit.isdecimal():
            return json_response({"name": "Fear and Greed Index", "data": [], "metadata": {"error": "limit"}})
        today = now_ms // DAY_MS
        days = [day for day in range(today, FIRST_DAY - 1, -1) if day not in MISSING_DAYS]
        chosen = days[: int(limit)] if int(limit) else days
        rows: list[dict[str, str]] = [self._row(day) for day in chosen]
        if rows and chosen[0] == today:
            rows[0]["time_until_update"] = str(((today + 1) * DAY_MS - now_ms) // 1000)
        return json_response({"name": "Fear and Greed Index", "data": rows, "metadata": {"error": None}})

    def value(self, day: int) -> int:
        """Return the index of a day, counted from 1970; 0 to 100."""
        noise = float(value_noise(self._keys, np.array([[day]], dtype=np.int64), PERIOD)[0, 0])
        return round(50 + 50 * noise)

    def _row(self, day: int) -> dict[str, str]:
        value = self.value(day)
        word = next(word for most, word in _WORDS if value <= most)
        return {"value": str(value), "value_classification": word, "timestamp": str(day * 86_400)}

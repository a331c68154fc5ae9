"""New rows as server-sent events: which rows a reader wishes, and their text; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from collector.clock import iso
from collector.records import Interval
from collector.storage.news import Found, News, Position

OURS = "collector"  # the source of what the collector computes itself
EVENT_ROWS = 500  # of one event; more rows of one commit come in several
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which rows a reader wants; empty symbols and intervals: all. `exact`: decimals as text."""

    kinds: tuple[str, ...]
    symbols: frozenset[str] = frozenset()  # as `spelled` spells them
    intervals: frozenset[str] = frozenset()
    exact: bool = False


def spelled(symbol: str) -> str:
    """Return a symbol in the one spelling that rows are compared by: BTCUSDT, or okx:BTC-USDT:perp in upper case."""
    word = symbol.strip().upper()
    return word if ":" in word else word.replace("/", "").replace("-", "")


def frame(event: str, data: Mapping[str, Any], position: Position | None = None) -> bytes:
    """Return one event; a position makes it a place to go on from."""
    place = b"id: %b\n" % str(position).encode() if position else b""
    return b"event: %b\n%bdata: %b\n\n" % (event.encode(), place, orjson.dumps(data, default=_float, option=_OPTIONS))


class Edition:
    """The news of one commit, or of several that were missed; the text of each wish is made once.

    Only its last event is a place to go on from, so that a reader that is cut off in the middle gets all of it again.
    """

    def __init__(self, news: News, *, simulated: bool) -> None:
        self.position = news.position
        self._found = news.found
        self._simulated = simulated
        self._rows: dict[tuple[str, bool], list[bytes]] = {}  # kind and exactness -> each row
        self._frames: dict[Wish, bytes] = {}

    def frames(self, wish: Wish) -> bytes:
        """Return the events that a reader with this wish gets; empty when nothing is for it."""
        if wish not in self._frames:
            events = [event for found in self._found if found.kind in wish.kinds for event in self._events(found, wish)]
            last = b"id: %b\n" % str(self.position).encode()
            if events:
                events[-1] = last + events[-1]
            self._frames[wish] = b"".join(events)
        return self._frames[wish]

    def _events(self, found: Found, wish: Wish) -> list[bytes]:
        chosen = [number for number, row in enumerate(found.rows) if _is_wished(row, wish)]
        if not chosen and not found.missing:
            return []
        texts = self._texts(found, wish)
        parts = [chosen[start : start + EVENT_ROWS] for start in range(0, len(chosen), EVENT_ROWS)] or [[]]
        return [
            self._event(found, part, [texts[number] for number in part], found.missing if part is parts[-1] else 0)
            for part in parts
        ]

    def _event(self, found: Found, numbers: Sequence[int], texts: Sequence[bytes], missing: int) -> bytes:
        rows = [found.rows[number] for number in numbers]
        head = {
            "kind": found.kind,
            "source": "+".join(sorted({row.get("source", OURS) for row in rows})) or None,
            "as_of": max((_moment(row) for row in rows), default=None),
            "stale": False,
            "simulated": self._simulated,
            "count": len(rows),
            "left_out": missing,
        }
        told = orjson.dumps(head, default=_float, option=_OPTIONS)[:-1]
        return b'event: %b\ndata: %b,"rows":[%b]}\n\n' % (found.kind.encode(), told, b",".join(texts))

    def _texts(self, found: Found, wish: Wish) -> list[bytes]:
        key = (found.kind, wish.exact)
        if key not in self._rows:
            spell = _text if wish.exact else _float
            self._rows[key] = [orjson.dumps(row, default=spell, option=_OPTIONS) for row in found.rows]
        return self._rows[key]


def _moment(row: Mapping[str, Any]) -> datetime:
    """Return when a row was true: when it was observed; what is computed of a bar is as old as the end of the bar."""
    found: datetime = row["observed_at"] if "observed_at" in row else row["open_time"] + Interval(row["interval"]).width
    return found


def _is_wished(row: Mapping[str, Any], wish: Wish) -> bool:
    if wish.intervals and "interval" in row and row["interval"] not in wish.intervals:
        return False
    return not wish.symbols or not (names := _names(row)) or bool(names & wish.symbols)


def _names(row: Mapping[str, Any]) -> set[str]:
    """Return what a row answers to; nothing for rows about the whole market, which everybody gets."""
    if "instrument" in row:
        return {row["base"].upper(), f"{row['base']}{row['quote']}".upper(), row["instrument"].upper()}
    if "asset_id" in row:
        return {(row["symbol"] or "").upper(), spelled(row["asset_id"])}
    return set()


def _float(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    raise TypeError(f"{type(value).__name__} is nothing that rows hold")


def _text(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else None
    return _float(value)

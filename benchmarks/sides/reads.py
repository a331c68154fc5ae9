"""What the sides tell of a cycle's reads, whoever made them; only the standard library."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

BARS_ASKED = 10  # of each series, by those who hold none: enough that both sides hold some of the same minutes
EACH = ("books", "marks", "tickers", "open_interest", "funding")  # what is read of every instrument, besides candles
# The collector keeps lists of instruments of its own, ccxt loaded its markets before: neither is work of a cycle.
LISTINGS = ("/fapi/v1/exchangeInfo", "/api/v5/public/instruments")

Bar = tuple[str, str, int, float, float, float, float, float]  # venue, symbol, open time in s, prices, volume
Values = Mapping[str, Mapping[str, Sequence[float]]]  # kind -> "venue symbol" or name -> values


def book(bids: Sequence[Sequence[Any]], asks: Sequence[Sequence[Any]], unit: float = 1) -> list[float]:
    """Return what is compared of a book: levels, best and last prices, and sizes, of which one is `unit` base units.

    Levels that are out of order are no book.
    """
    for side, sign in ((bids, -1), (asks, 1)):
        if not side or any(sign * (after[0] - level[0]) <= 0 for level, after in pairwise(side)):
            return []
    ends = [float(level[0]) for level in (bids[0], asks[0], bids[-1], asks[-1])]
    return [len(bids), len(asks), *ends, *(unit * float(sum(level[1] for level in side)) for side in (bids, asks))]


def told(
    values: Values,
    bars: Iterable[Bar],
    facts: Mapping[str, float],
    requests: Mapping[str, int],
    fresh: Iterable[str] | None = None,
) -> dict[str, Any]:
    """Return the answer of a side: values, closed bars by series and minute, and the requests by "venue path".

    `fresh` are the series of which this cycle brought bars ("venue symbol"); None: those of `bars`.
    """
    series: dict[str, dict[str, str]] = {}
    for venue, symbol, opened, *numbers in bars:
        digest = hashlib.sha256(" ".join(map(repr, map(float, numbers))).encode()).hexdigest()
        series.setdefault(f"{venue} {symbol}", {})[str(opened)] = digest[:12]
    candles = sorted(series if fresh is None else fresh)
    same = {
        "counts": {**{kind: len(values.get(kind, {})) for kind in EACH}, "candles": len(candles)},
        "values": {kind: {name: list(found) for name, found in part.items()} for kind, part in values.items()},
        "candles": candles,
        "bars": series,
        "requests": {call: count for call, count in requests.items() if count and not call.endswith(LISTINGS)},
        "refused": facts["refused"],
    }
    return {"same": same, "facts": dict(facts)}

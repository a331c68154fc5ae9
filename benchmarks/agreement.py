"""Whether two sides have read the same of a simulated market.

Closed bars are the same whenever they are asked for: they must be equal to the last digit, of every instrument. All
else moves with the market, and the sides read one after the other: of the same instruments there must be as many values
and levels, and the values as near as the minutes between leave them.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.harness import Disagreement
from benchmarks.sides.reads import Values

# How far values may be apart, as a share of the greater one. A price of the simulated market moves by less than 0.5 %
# in five minutes, its open interest by 3 %. The sizes of a book are drawn anew every moment, fifty a side.
PRICE, INTEREST, SIZES = 0.01, 0.05, 0.75
TYPICAL = 0.003  # the same of prices, for the median of all instruments
# Two forecasts of one payment: each misses it by up to 3e-5, anew every ten minutes. A rate may be 0: no share of it.
FORECAST = 6.1e-5
COLUMNS: Mapping[str, Mapping[str, float]] = {
    "books": {
        "bid levels": 0,
        "ask levels": 0,
        "best bid": PRICE,
        "best ask": PRICE,
        "last bid": PRICE,
        "last ask": PRICE,
        "bid sizes": SIZES,
        "ask sizes": SIZES,
    },
    "marks": {"mark price": PRICE},
    "tickers": {"last price": PRICE},
    "open_interest": {"open interest": INTEREST},
    "funding": {"funding time": 0, "funding rate": FORECAST},
    "coins": {"price": PRICE},
    "market": {"market cap": PRICE},
}
PAID_EVERY_S = (3_600, 7_200, 14_400, 28_800)


class Agreement:
    """Compares the answers of a round, and its bars with those of the rounds before: a closed bar does not change."""

    def __init__(self) -> None:
        self._bars: dict[str, dict[str, tuple[str, str]]] = {}  # series -> minute -> (digest, side)

    def __call__(self, phase: str, answers: Mapping[str, Any]) -> None:
        """Raise Disagreement unless all sides read the same of the same instruments with the same calls."""
        (first, wanted), *others = answers.items()
        for name, answer in answers.items():
            plausible(f"{phase}: {name}", answer)
            self._same_bars(f"{phase}: {name}", name, answer)
        for name, found in others:
            both = f"{phase}: {first} and {name}"
            same_requests(both, wanted, found)
            same_values(both, wanted["values"], found["values"])
            same_series(both, wanted, found)

    def _same_bars(self, who: str, side: str, answer: Mapping[str, Any]) -> None:
        for series, minutes in answer["bars"].items():
            known = self._bars.setdefault(series, {})
            for minute, digest in minutes.items():
                other, whose = known.setdefault(minute, (digest, side))
                if other != digest:
                    raise Disagreement(f"{who}: the bar of {series} at {minute} is not that of {whose}")


def plausible(who: str, answer: Mapping[str, Any]) -> None:
    """Raise Disagreement when values of one side are not whole or contradict each other."""
    counts, values = answer["counts"], answer["values"]
    if len(set(counts.values())) != 1 or not counts["books"]:
        raise Disagreement(f"{who} did not read everything of every instrument: {counts}")
    without = set(answer["candles"]) - set(answer["bars"])
    if without:
        raise Disagreement(f"{who} has no bars of {_some(without)}")
    for kind, part in values.items():
        odd = [name for name, found in part.items() if len(found) != len(COLUMNS[kind])]
        if odd:
            raise Disagreement(f"{who} has no such values, {kind}: {_some(odd)}")
    for name, (_, _, bid, ask, *_) in values["books"].items():
        (mark,) = values["marks"].get(name, (0.0,))
        if not 0 < bid < ask or abs(mark - (bid + ask) / 2) > PRICE * mark:
            raise Disagreement(f"{who}: best prices of {name} are {bid} and {ask}, its mark price {mark}")


def same_requests(both: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise Disagreement unless both made as many calls of every kind; one that was refused may have been repeated."""
    spare = wanted["refused"] + found["refused"]
    mine, theirs = wanted["requests"], found["requests"]
    counts = {call: (mine.get(call, 0), theirs.get(call, 0)) for call in {*mine, *theirs}}
    apart = {call: pair for call, pair in sorted(counts.items()) if abs(pair[0] - pair[1]) > spare}
    if apart:
        raise Disagreement(f"{both} made different calls: {apart}")


def same_series(both: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise Disagreement unless both read bars of the same series, and have a minute of each in common."""
    apart = {*wanted["candles"]} ^ {*found["candles"]}
    if apart:
        raise Disagreement(f"{both} did not read bars of the same: {_some(apart)}")
    alone = [name for name in wanted["candles"] if not {*wanted["bars"][name]} & {*found["bars"][name]}]
    if alone:
        raise Disagreement(f"{both} have no minute in common of {_some(alone)}")


def same_values(both: str, wanted: Values, found: Values) -> None:
    """Raise Disagreement unless both have values of the same instruments, as near as the simulated market allows."""
    for kind, columns in COLUMNS.items():
        mine, theirs = wanted.get(kind, {}), found.get(kind, {})
        if {*mine} != {*theirs} or not mine:
            what = f"{kind} of {len(mine)} and {len(theirs)}, {_some({*mine} ^ {*theirs})}"
            raise Disagreement(f"{both} did not read the same: {what}")
        for place, (column, most) in enumerate(columns.items()):
            names = [name for name in mine if kind != "funding" or not _paid_between(mine[name], theirs[name])]
            pairs = {name: (mine[name][place], theirs[name][place]) for name in names}
            _near(f"{both}: {column}", pairs, most)


def _near(what: str, pairs: Mapping[str, tuple[float, float]], most: float) -> None:
    apart = {
        name: abs(one - other) / (1 if most == FORECAST else max(abs(one), abs(other)) or 1)
        for name, (one, other) in pairs.items()
    }
    for name, far in apart.items():
        if not far <= most:
            raise Disagreement(f"{what} of {name}: {pairs[name][0]} and {pairs[name][1]}")
    if most == PRICE and median(apart.values()) > TYPICAL:
        raise Disagreement(f"{what}: {median(apart.values()):.2%} apart in the median")


def _paid_between(mine: Sequence[float], theirs: Sequence[float]) -> bool:
    """Tell whether a payment was due between the calls: then the forecasts are of two payments."""
    return abs(mine[0] - theirs[0]) in PAID_EVERY_S


def _some(names: Iterable[str]) -> str:
    found = sorted(names)
    return f"{len(found)}, {', '.join(found[:3])} among them" if found else "none"

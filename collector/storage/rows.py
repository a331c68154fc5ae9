"""Records as lines of PostgreSQL's COPY text format; one formatter per table, generated from its columns.

Generated because it runs for every stored row: one f-string with the attribute names written out is more than
twice as fast as a loop over the columns. The generated text holds names from our own models and nothing else.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from itertools import islice, pairwise, repeat
from operator import attrgetter, itemgetter, lt
from typing import Any

from sqlalchemy import Column, DateTime, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from collector.bars import Bars
from collector.records import InstrumentListing, OrderBook, Record
from collector.storage.models import TABLES

NULL = "\\N"
BATCH = "batch_no"  # staging column: which batch of the write a row belongs to
CHUNK_BYTES = 1 << 17  # of COPY text, about, from one spelling to the next; in a socket's reach
FIRST_ROWS, CHUNK_ROWS = 16, 2000


@dataclass(frozen=True, slots=True)
class Rows:
    """Records of one type, each with the number of its batch in the write.

    Two lists and not a list of pairs: a hundred thousand small tuples keep the garbage collector busier than the
    formatting takes.
    """

    records: list[Any] | Bars
    numbers: list[int]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, part: slice) -> "Rows":
        return Rows(self.records[part], self.numbers[part])

    def column(self, name: str) -> list[Any]:
        """Return a value of each record, by the name of its field."""
        return self.records.column(name) if isinstance(self.records, Bars) else [*map(attrgetter(name), self.records)]

    def picked(self, order: Iterable[int]) -> "Rows":
        """Return the rows at these positions, in this order."""
        places = list(order)
        return Rows([self.records[i] for i in places], [self.numbers[i] for i in places])

    def of_batch(self, number: int) -> "Rows":
        """Return the rows of one batch."""
        return self.picked(i for i, owner in enumerate(self.numbers) if owner == number)

    def by_receipt(self) -> "Rows":
        """Return the rows in order of receipt; equals stay as given."""
        return self.picked(sorted(range(len(self)), key=self.column("received_at").__getitem__))


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Moments(dict[datetime, str]):
    """Text of each distinct moment; a cycle has few of them."""

    def __missing__(self, moment: datetime) -> str:
        text = self[moment] = moment.isoformat()
        return text


class Texts(dict[str, str]):
    """Escaped form of each distinct text."""

    def __missing__(self, value: str) -> str:
        text = self[value] = str(value).translate(_ESCAPES)
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class RowShape:
    """How one record type is keyed and spelled. `key` is the primary key in its order."""

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]  # as staged, without BATCH
    lines: Callable[[Rows, Mapping[int, int], int, Moments, Texts], list[str]]  # the columns, then BATCH
    plain_lines: Callable[[Rows, Mapping[int, int], int, Moments, Texts], list[str]]  # the columns alone
    has_instrument: bool

    def keys(self, rows: Rows, ids: Mapping[int, int]) -> tuple[list[Any], ...]:
        """Return a list for each key column."""
        return tuple(self._key_column(name, rows, ids) for name in self.key)

    def _key_column(self, name: str, rows: Rows, ids: Mapping[int, int]) -> list[Any]:
        if name == "instrument_id":
            return [ids[id(item)] for item in rows.column("instrument")]
        return [item.id for item in rows.column(name)] if name == "instrument" else rows.column(name)

    def distinct(self, rows: Rows, ids: Mapping[int, int]) -> Rows:
        """Return the rows sorted by key, one per key: the one received last, of equals the later one."""
        keys = self.keys(rows, ids)
        if all(map(lt, zip(*keys, strict=True), islice(zip(*keys, strict=True), 1, None))):
            return rows  # one series in order of time, the usual back-fill
        order = sorted(range(len(rows)), key=rows.column("received_at").__getitem__)
        for column in reversed(keys):  # stable, so the first key column decides and receipt comes last
            order.sort(key=column.__getitem__)
        last = [i for i, after in pairwise(order) if any(column[i] != column[after] for column in keys)]
        return rows.picked([*last, order[-1]])


def shape_of(record_type: type[Record]) -> RowShape:
    """Return the shape of a record type; raises TypeError for one without a table."""
    found = _SHAPES.get(record_type)
    if found is None:
        raise TypeError(f"{record_type.__name__} has no table")
    return found


def _shape(record_type: type[Record]) -> RowShape:
    table = TABLES[record_type]
    names = {item.name for item in fields(record_type)}
    derived = _DERIVED.get(record_type, _NOTHING_DERIVED)
    known = {*names, *_OURS} - set(derived.columns)
    plain = [column for column in table.columns if column.name in known and not column.identity]
    key = _KEYS.get(record_type) or tuple(column.name for column in table.primary_key.columns)
    scope: dict[str, Any] = {"NULL": NULL, "array": _array, "document": _document, "derived": derived.line}
    exec(_source(plain, bool(derived.columns)), scope)  # noqa: S102 - see the module's docstring
    return RowShape(
        table=table.name,
        key=key,
        columns=tuple(column.name for column in plain) + derived.columns,
        lines=scope["lines"],
        plain_lines=scope["plain_lines"],
        has_instrument="instrument_id" in key,
    )


_OURS = ("instrument_id", "cycle_id")
_KEYS: Mapping[type[Record], tuple[str, ...]] = {InstrumentListing: ("instrument",)}  # its table's key is our number


def _source(columns: Sequence[Column[Any]], derived: bool) -> str:
    spelled = "\\t".join(f"{{{_expression(column)}}}" for column in columns)
    tail = "\\t{derived(r)}" if derived else ""
    return (
        "def lines(rows, ids, cycle_id, moments, texts):\n"
        f"    return [f'{spelled}{tail}\\t{{n}}\\n' for n, r in zip(rows.numbers, rows.records)]\n"
        "def plain_lines(rows, ids, cycle_id, moments, texts):\n"
        f"    return [f'{spelled}{tail}\\n' for r in rows.records]\n"
    )


def _expression(column: Column[Any]) -> str:
    """Return the expression that spells one column of record `r`."""
    name = column.name
    if name == "instrument_id":
        return "ids[id(r.instrument)]"
    if name == "cycle_id":
        return "cycle_id"
    kind = column.type
    if isinstance(kind, ARRAY):
        text = f"array(r.{name})"
    elif isinstance(kind, JSONB):
        text = f"document(r.{name})"
    elif isinstance(kind, DateTime):
        text = f"moments[r.{name}]"
    elif isinstance(kind, Text):
        text = f"texts[r.{name}]"
    else:
        return f"NULL if r.{name} is None else r.{name}!s" if column.nullable else f"r.{name}!s"
    return f"NULL if r.{name} is None else {text}" if column.nullable else text


def clean(text: str) -> str:
    """Return a text that PostgreSQL can hold: no NUL, no lone surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _array(values: Iterable[str]) -> str:
    """Return a text[] literal, quoted and escaped for COPY."""
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return ("{" + ",".join(f'"{value}"' for value in quoted) + "}").translate(_ESCAPES)


def _document(value: Mapping[str, Any]) -> str:
    """Return a JSON document, escaped for COPY."""
    return json.dumps(dict(value), ensure_ascii=False, sort_keys=True).translate(_ESCAPES)


def chunks(
    rows: Rows, shape: RowShape, ids: Mapping[int, int], cycle_id: int, *, numbered: bool = True
) -> Iterator[bytes]:
    """Yield the rows as COPY text in chunks of about `CHUNK_BYTES`: the server parses while we spell the next ones.

    `numbered` is for a staging table: each row ends with the number of its batch. A lone surrogate (JSON escapes can
    make one) goes out as the invalid UTF-8 that it is: the server refuses the row.
    """
    moments, texts, spell = Moments(), Texts(), shape.lines if numbered else shape.plain_lines
    start, count = 0, FIRST_ROWS
    while start < len(rows):
        part = rows[start : start + count]
        if isinstance(part.records, Bars):
            numbers = part.numbers if numbered else None
            text = _bar_lines(part.records, numbers, shape, ids, cycle_id)
        else:
            text = "".join(spell(part, ids, cycle_id, moments, texts))
        chunk = text.encode("utf-8", "surrogatepass")
        yield chunk
        start, count = start + count, min(max(CHUNK_BYTES * len(part) // len(chunk), 1), CHUNK_ROWS)


def _bar_lines(
    bars: Bars, numbers: Sequence[int] | None, shape: RowShape, ids: Mapping[int, int], cycle_id: int
) -> str:
    """Return the lines of bars, put together of whole columns of text."""
    opened = [moment.isoformat() for moment in bars.open_time]
    texts: dict[str, Iterable[str]] = {
        "instrument_id": repeat(str(ids[id(bars.instrument)])),
        "cycle_id": repeat(str(cycle_id)),
        "source": repeat(bars.source.translate(_ESCAPES)),
        "interval": repeat(str(bars.interval)),
        "open_time": opened,
        "observed_at": _ends(bars, opened),
        "received_at": map(Moments().__getitem__, bars.received_at),
    }
    columns = [texts[name] if name in texts else map(str, bars.column(name)) for name in shape.columns]
    columns += [] if numbers is None else [map(str, numbers)]
    return "\n".join([*map("\t".join, zip(*columns, strict=False)), ""])  # strict would mind those without an end


def _ends(bars: Bars, opened: Sequence[str]) -> Iterator[str]:
    """Yield the text of each bar's end: that of the next start, where the next bar follows at once."""
    width, times = bars.interval.width, bars.open_time
    for moment, after, text in zip(times, times[1:], opened[1:], strict=False):
        yield text if after - moment == width else (moment + width).isoformat()
    yield (times[-1] + width).isoformat()


# --------------------------------------------------------------------------- order books

_DEPTHS_BPS = (10, 50, 100)
_IMBALANCE_LEVELS = 10

Levels = tuple[tuple[Decimal, Decimal], ...]
_PRICE, _SIZE = itemgetter(0), itemgetter(1)


@dataclass(frozen=True, slots=True)
class _Derived:
    """Columns that are computed from a record, and the COPY text of all of them."""

    columns: tuple[str, ...] = ()
    line: Callable[[Any], str] = str


def book_measures(bids: Levels, asks: Levels) -> dict[str, Decimal | float | None]:
    """Return what a book's columns beside its levels hold; prices in quote, sizes in base units.

    With mid = (best_bid + best_ask) / 2: spread_bps = (best_ask - best_bid) / mid * 10000; imbalance = (bids - asks)
    / (bids + asks) over the sizes of the ten best levels; depth_<side>_<n>bps = sizes of the levels whose price is
    no worse than n / 10000 from mid; reach_<side>_bps = distance of the last level from mid. All but the best prices
    are None when a side is empty; imbalance also when all sizes are zero.
    """
    found: dict[str, Decimal | float | None] = dict.fromkeys(_BOOK_COLUMNS)
    found["best_bid"] = bids[0][0] if bids else None
    found["best_ask"] = asks[0][0] if asks else None
    if not bids or not asks:
        return found
    mid = (bids[0][0] + asks[0][0]) / 2
    found["spread_bps"] = float((asks[0][0] - bids[0][0]) / mid * 10000)
    bid_size = sum(map(_SIZE, bids[:_IMBALANCE_LEVELS]))
    ask_size = sum(map(_SIZE, asks[:_IMBALANCE_LEVELS]))
    if bid_size + ask_size:
        found["imbalance"] = float((bid_size - ask_size) / (bid_size + ask_size))
    for side, levels in (("bid", bids), ("ask", asks)):
        found[f"reach_{side}_bps"] = float(abs(levels[-1][0] - mid) / mid * 10000)
        for bps, depth in zip(_DEPTHS_BPS, _depths(levels, mid, 1 if side == "ask" else -1), strict=True):
            found[f"depth_{side}_{bps}bps"] = depth
    return found


def _depths(levels: Levels, mid: Decimal, sign: int) -> Iterator[Decimal]:
    """Yield the sizes up to each of `_DEPTHS_BPS` from mid, each level added once; `sign`: 1 for asks, -1 for bids."""
    place, depth = 0, Decimal(0)
    for bps in _DEPTHS_BPS:
        end = sign * mid + mid * bps / 10000
        stop = len(levels)
        if sign * levels[-1][0] > end:
            stop = bisect_right(levels, end, place, key=lambda level: sign * level[0])
        depth += sum(map(_SIZE, levels[place:stop]))
        place = stop
        yield depth


_BOOK_COLUMNS = (
    "best_bid",
    "best_ask",
    "spread_bps",
    "imbalance",
    *(f"depth_{side}_{bps}bps" for bps in _DEPTHS_BPS for side in ("bid", "ask")),
    "reach_bid_bps",
    "reach_ask_bps",
)


def _book_line(book: OrderBook) -> str:
    measures = book_measures(book.bids, book.asks)
    levels = (
        f"{{{','.join(map(str, map(part, side)))}}}" for side in (book.bids, book.asks) for part in (_PRICE, _SIZE)
    )
    return "\t".join([*levels, *(NULL if value is None else str(value) for value in measures.values())])


def _instrument_line(listing: InstrumentListing) -> str:
    item = listing.instrument
    texts = (item.id, item.venue, item.base, item.quote, item.kind, item.venue_symbol, str(item.contract_size))
    return "\t".join([text.translate(_ESCAPES) for text in texts])


_DERIVED: Mapping[type[Record], _Derived] = {
    InstrumentListing: _Derived(
        ("instrument", "venue", "base", "quote", "kind", "venue_symbol", "contract_size"), _instrument_line
    ),
    OrderBook: _Derived(("bid_prices", "bid_sizes", "ask_prices", "ask_sizes", *_BOOK_COLUMNS), _book_line),
}
_NOTHING_DERIVED = _Derived()
_SHAPES = {record_type: _shape(record_type) for record_type in TABLES}

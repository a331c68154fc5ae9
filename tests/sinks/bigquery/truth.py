"""What the tables outside must hold, read from the database with queries of its own, and how they are compared."""

import json
from collections import Counter
from datetime import UTC
from decimal import Decimal

from sqlalchemy import text

SOURCES = ("okx", "coingecko")
# Table -> (its time, its natural key in words of the table outside, whose rows they are).
TABLES = {
    "market_snapshots": ("observed_at", ("asset_id", "observed_at", "source"), "t.source"),
    "global_snapshots": ("observed_at", ("source", "observed_at"), "t.source"),
    "sentiments": ("observed_at", ("source", "observed_at"), "t.source"),
    "tickers": ("observed_at", ("instrument", "observed_at", "source"), "t.source"),
    "candles": ("open_time", ("instrument", "interval", "open_time"), "i.venue"),
    "order_books": ("observed_at", ("instrument", "observed_at", "source"), "t.source"),
    "mark_prices": ("observed_at", ("instrument", "observed_at", "source"), "t.source"),
    "funding_forecasts": ("observed_at", ("instrument", "observed_at", "source"), "t.source"),
    "funding_rates": ("funding_time", ("instrument", "funding_time", "rate_type", "source"), "t.source"),
    "open_interest": ("observed_at", ("instrument", "observed_at", "source"), "t.source"),
    "indicators": ("open_time", ("instrument", "interval", "open_time"), "i.venue"),
    "derived_metrics": ("observed_at", ("instrument", "measure", "span", "observed_at"), "i.venue"),
}
OURS = {"dataset", "row_key", "row_time", "row_version", "sent_at", "base", "quote", "kind", "unfit"}


def plain(value):
    """A value of either side as something that can be compared and counted."""
    if isinstance(value, Decimal):
        return shortest(value)
    if hasattr(value, "astimezone"):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    if isinstance(value, list):
        return tuple(map(plain, value))
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def stored(database, source):
    """The derived rows that a source's table must hold, as a counter of frozen rows."""
    found = Counter()
    with database.reading() as connection:
        for table, (_, _, owner) in TABLES.items():
            numbered = table not in {"market_snapshots", "global_snapshots", "sentiments"}
            join = "JOIN instruments i USING (instrument_id)" if numbered else ""
            named = "i.instrument, " if numbered else ""
            query = f"SELECT {named}t.* FROM {table} t {join} WHERE {owner} = :source"
            for row in connection.execute(text(query), {"source": source}).mappings():
                values = {key: value for key, value in row.items() if key != "instrument_id" and value is not None}
                values = {key: value for key, value in values.items() if value != []}
                found[freeze({"dataset": table, **values})] += 1
    return found


def answers(database, source):
    """The raw rows that a source's table must hold: job, order, digest."""
    query = (
        "SELECT p.job_id, p.seq, p.sha256, j.cycle_id FROM raw_payloads p JOIN jobs j USING (job_id) "
        "WHERE j.source = :source"
    )
    with database.reading() as connection:
        return Counter(tuple(row) for row in connection.execute(text(query), {"source": source}))


def freeze(values):
    return tuple(sorted((key, plain(value)) for key, value in values.items()))


def outside(server, source):
    """The derived rows that a source's table holds, as `stored` gives them."""
    rows = server.warehouse.rows(f"{source}_derived")
    found = Counter()
    for row in rows:
        values = {key: value for key, value in row.items() if key not in OURS - {"dataset"}}
        for name in ("extra",):
            if name in values:
                values[name] = json.dumps(json.loads(values[name]), sort_keys=True)
        for name, value in json.loads(row.get("unfit", "{}")).items():
            values[name] = [shortest(item) for item in value] if isinstance(value, list) else shortest(value)
        found[freeze(values)] += 1
    return found


def shortest(value):
    """A number's text without zeros behind; of any length."""
    written = format(Decimal(value), "f")
    return written.rstrip("0").rstrip(".") if "." in written else written


def answers_outside(server, source):
    rows = server.warehouse.rows(f"{source}_raw")
    return Counter((row["job_id"], row["seq"], row["sha256"], row["cycle_id"]) for row in rows)


def differences(database, server):
    """What is in one and not in the other, by table; empty when both hold exactly the same rows."""
    found = {}
    for source in SOURCES:
        for name, here, there in (
            ("derived", stored(database, source), outside(server, source)),
            ("raw", answers(database, source), answers_outside(server, source)),
        ):
            if here != there:
                found[f"{source}_{name}"] = {"not sent": list((here - there).items())[:3]} | {
                    "not ours": list((there - here).items())[:3]
                }
    return found

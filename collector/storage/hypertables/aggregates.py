"""Continuous aggregates: larger candles worked out from 1m candles by TimescaleDB, by the rule of our own numbers.

A bar is there only when all its 1m bars are: open is the first, close the last, volumes are sums and NULL when a part
does not say. Bars are cut on the UTC grid. Stored candles stay what the provider said; `compare` tells where
the two differ.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from collector.errors import ConfigError
from collector.records import Interval
from collector.storage.database import Database

KNOWN = (Interval.M5, Interval.M15, Interval.H1, Interval.H4, Interval.D1)
SUMS = ("volume", "quote_volume", "trades", "taker_buy_volume")
_PRICES = ("open", "high", "low", "close")
_SOONEST, _LATEST = timedelta(minutes=5), timedelta(hours=1)  # between two refreshes


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateState:
    """One of our continuous aggregates."""

    name: str
    interval: Interval
    refresh_every: timedelta | None  # None: no policy
    refresh_from: timedelta | None  # age up to which the policy looks back; None: everything
    last_run: str | None  # how the last refresh ended; None before the first


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Aggregated bars against stored candles of the same interval."""

    interval: Interval
    compared: int  # bars that both have
    differing: int
    differences: Sequence[Mapping[str, Any]] = field(default_factory=tuple)  # the newest of them


def name_of(interval: Interval) -> str:
    """Return the name of the view, as candles_5m."""
    return f"candles_{interval}"


def create_sql(interval: Interval) -> str:
    """Return the statement that makes the aggregate, empty; bars that are not worked out yet are added by queries."""
    minutes = interval.width // Interval.M1.width
    sums = ", ".join(f"CASE WHEN count({name}) = count(*) THEN sum({name}) END AS {name}" for name in SUMS)
    return (
        f"CREATE MATERIALIZED VIEW {name_of(interval)} "
        "WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS "
        f"SELECT instrument_id, time_bucket(INTERVAL '{minutes} minutes', open_time) AS open_time, "
        "first(open, open_time) AS open, max(high) AS high, min(low) AS low, last(close, open_time) AS close, "
        f"{sums}, max(received_at) AS received_at FROM candles WHERE interval = '{Interval.M1}' "
        f"GROUP BY 1, 2 HAVING count(*) = {minutes} WITH NO DATA"
    )


def policy_sql(interval: Interval, back: timedelta | None) -> str:
    """Return the statement that keeps the aggregate fresh: what changed, however old, unless old rows are dropped."""
    every = min(max(interval.width, _SOONEST), _LATEST)
    start = f"INTERVAL '{back.days} days'" if back else "NULL"
    return (
        f"SELECT add_continuous_aggregate_policy('{name_of(interval)}', start_offset => {start}, "
        f"end_offset => INTERVAL '{interval.width // Interval.M1.width} minutes', "
        f"schedule_interval => INTERVAL '{every // Interval.M1.width} minutes')"
    )


def missing(
    found: Sequence[AggregateState], wanted: Sequence[Interval], drop_after: Mapping[str, timedelta]
) -> Iterator[tuple[str, list[str], bool]]:
    """Yield what is left to do as (words, statements, each alone?)."""
    there = {state.interval: state for state in found}
    for interval in sorted(set(there) - set(wanted), key=lambda item: item.width):
        yield f"drop {name_of(interval)}", [f"DROP MATERIALIZED VIEW {name_of(interval)}"], False
    # Looking further back than rows are kept would take the bars away whose parts are gone.
    back = drop_after.get("candles")
    back = back - timedelta(days=1) if back else None
    for interval in wanted:
        state, name = there.get(interval), name_of(interval)
        if state is None:
            yield f"make {name} from 1m candles", [create_sql(interval)], False
        if state is None or state.refresh_every is None:  # its policy comes last: without one, it may not be filled
            yield f"fill {name}", [f"CALL refresh_continuous_aggregate('{name}', NULL, NULL)"], True
            yield f"keep {name} fresh", [policy_sql(interval, back)], False
        elif state.refresh_from != back:
            statements = [f"SELECT remove_continuous_aggregate_policy('{name}')", policy_sql(interval, back)]
            yield f"keep {name} fresh", statements, False


def load_states(connection: Connection) -> list[AggregateState]:
    """Return our aggregates that exist, by length."""
    names = {name_of(interval): interval for interval in KNOWN}
    rows = {row.name: row for row in connection.execute(_STATES, {"names": list(names)})}
    return [
        AggregateState(interval=interval, **rows[name]._asdict()) for name, interval in names.items() if name in rows
    ]


def refuse_foreign(connection: Connection, tables: Sequence[str]) -> None:
    """Raise ConfigError when there are aggregates of our tables that are not ours."""
    ours = [name_of(interval) for interval in KNOWN]
    others = connection.execute(_FOREIGN, {"tables": list(tables), "ours": ours}).scalars().all()
    if others:
        raise ConfigError(f"{', '.join(others)} would be lost: drop it, run this again and make it anew")


def compare_sql(interval: Interval) -> str:
    """Return the query of the bars in which an aggregate and the stored candles differ, newest first.

    A value that one of the two does not say is no difference.
    """
    names = [*_PRICES, *SUMS]
    differs = " OR ".join(f"c.{name} <> a.{name}" for name in names)
    shown = ", ".join(f"c.{name} AS {name}, a.{name} AS aggregated_{name}" for name in names)
    return (
        f"SELECT i.instrument, c.open_time, c.source, {shown} FROM candles c "
        f"JOIN {name_of(interval)} a USING (instrument_id, open_time) JOIN instruments i USING (instrument_id) "
        f"WHERE c.interval = '{interval}' AND c.open_time >= :since AND a.open_time >= :since AND ({differs}) "
        "ORDER BY c.open_time DESC, i.instrument"
    )


def compare(database: Database, interval: Interval, since: datetime, limit: int) -> Comparison:
    """Compare an aggregate's bars from a moment on with the stored ones. Raises ConfigError where there is none."""
    name = name_of(interval)
    with database.reading(f"compare {name}") as connection:
        installed = connection.execute(text("SELECT to_regclass('timescaledb_information.continuous_aggregates')"))
        if installed.scalar() is None or interval not in {state.interval for state in load_states(connection)}:
            raise ConfigError(f"there is no {name}: python main.py db timescale enable")
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        compared = connection.execute(
            text(
                f"SELECT count(*) FROM candles c JOIN {name} a USING (instrument_id, open_time) "
                "WHERE c.interval = :interval AND c.open_time >= :since AND a.open_time >= :since"
            ),
            {"interval": str(interval), "since": since},
        ).scalar_one()
        rows = connection.execute(text(compare_sql(interval)), {"since": since}).mappings().all()
    return Comparison(
        interval=interval, compared=compared, differing=len(rows), differences=[dict(row) for row in rows[:limit]]
    )


# A policy is listed under the view, by older versions under the table behind it.
_STATES = text(
    """
    SELECT c.view_name::text AS name, j.schedule_interval AS refresh_every,
        (j.config ->> 'start_offset')::interval AS refresh_from, s.last_run_status AS last_run
    FROM timescaledb_information.continuous_aggregates c
    LEFT JOIN timescaledb_information.jobs j ON j.proc_name = 'policy_refresh_continuous_aggregate'
        AND ((j.hypertable_schema, j.hypertable_name)
                = (c.materialization_hypertable_schema, c.materialization_hypertable_name)
            OR (j.hypertable_schema, j.hypertable_name) = (c.view_schema, c.view_name))
    LEFT JOIN timescaledb_information.job_stats s ON s.job_id = j.job_id
    WHERE c.view_schema = current_schema() AND c.view_name = ANY(:names)
    """
)
_FOREIGN = text(
    "SELECT view_name::text FROM timescaledb_information.continuous_aggregates "
    "WHERE hypertable_schema = current_schema() AND hypertable_name = ANY(:tables) AND NOT view_name = ANY(:ours)"
)

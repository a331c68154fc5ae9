"""Candles into PostgreSQL, new and repeated unchanged, beside a bare COPY-and-merge and what others use.

The limit is measured with a million rows, the peers with 100 000 in a second comparison, in which the collector takes
part again: a peer that takes minutes for a million would leave no time for rounds. Each side has a database of its own
on one server; all write 10 000 rows a transaction. The answer is what a fresh look at the table finds, in every column
that a side stores.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import stand
from benchmarks.asked import Asked
from benchmarks.harness import OURS, Comparison, Disagreement, Outcome, Part, Reach, Side, Spread

BARE, CRYPTOFEED, ALCHEMY = "bare COPY and merge", "cryptofeed", "SQLAlchemy"
PANDAS, PANDAS_COPY = "pandas to_sql", "pandas to_sql by COPY"
ROWS, PEERS_ROWS = 1_000_000, 100_000
QUICK_ROWS = 10_000

CONFIGURATIONS = {
    OURS: "collector.storage.Writer: batches of 10 000 with ledger, windows held, rejects and announcements",
    BARE: "psycopg2 COPY of text into a temporary table, a guarded upsert into the collector's table",
    CRYPTOFEED: (
        "CandlesPostgres (asyncpg, unix socket), its examples/postgres_tables.sql with a unique key added, "
        "numeric_type left at float; its queue is waited for every 10 000 candles; it stores no quote and no taker "
        "volume, and on a repeat it drops the whole batch at the first duplicate"
    ),
    PANDAS: (
        "to_sql(if_exists='append', chunksize=1000, method=the ON CONFLICT callable of its documents, updating only "
        "rows that differ) over psycopg2; a plain table with the natural key"
    ),
    PANDAS_COPY: (
        "to_sql(method=the COPY callable of its user guide) into a temporary table, then a merge by hand that updates "
        "only rows that differ; the same plain table"
    ),
    ALCHEMY: (
        "Core insert().on_conflict_do_update().returning() with 10 000 dictionaries of Decimal: insertmanyvalues over "
        "psycopg2 (pages of 1 000, the default), updating only rows that differ; a plain table with the natural key"
    ),
}
# Every column is compared: of all sides what the least of them stores, beside that what each stores.
STORED = {BARE: {"shared", "volumes", "origin"}, CRYPTOFEED: {"shared"}}
STORED |= {OURS: STORED[BARE], **{name: {"shared", "volumes"} for name in (PANDAS, PANDAS_COPY, ALCHEMY)}}
PHASES = {"new": "new rows into an empty table", "repeated": "the same rows again"}


def agree(phase: str, answers: Mapping[str, Any]) -> None:
    """Raise Disagreement unless every side holds each row that it was handed once, with equal values in its columns."""
    wanted: dict[str, tuple[str, str]] = {}
    for side, answer in answers.items():
        if not answer["handed"] == answer["rows"] == answer["keys"] > 0:
            raise Disagreement(f"{phase}: {side} was handed {answer['handed']} rows, and holds {answer['rows']}")
        if {*answer["digests"]} != STORED[side]:
            raise Disagreement(f"{phase}: {side} tells of {[*answer['digests']]} instead of {sorted(STORED[side])}")
        for group, digest in answer["digests"].items():
            first, other = wanted.setdefault(group, (side, digest))
            if digest != other:
                raise Disagreement(f"{phase}: {side} and {first} hold different values ({group})")


def measure(asked: Asked) -> Outcome:
    """Measure both comparisons."""
    with stand.server() as server:
        rows = asked.size(ROWS, QUICK_ROWS)
        limit = Comparison(
            sides=[_side(server, OURS, "ours", rows), _side(server, BARE, "bare", rows)],
            phases=PHASES,
            rounds=asked.times(3),
            warm_ups=asked.size(1, 0),
            agree=agree,
            server_pid=server.pid,
        ).measure()
    with stand.server() as server:
        rows = asked.size(PEERS_ROWS, QUICK_ROWS)
        sides = [_side(server, OURS, "ours", rows)]
        sides.append(_side(server, CRYPTOFEED, "cryptofeed", rows, peer=True))
        sides.append(_side(server, PANDAS, "pandas", rows, peer=True, copy=False))
        sides.append(_side(server, PANDAS_COPY, "pandas", rows, peer=True, copy=True))
        sides.append(_side(server, ALCHEMY, "sqlalchemy", rows, peer=True))
        compared = Comparison(
            sides=sides,
            phases={f"{key}_peers": text for key, text in PHASES.items()},
            rounds=asked.times(3),
            warm_ups=0,
            agree=agree,
            server_pid=server.pid,
        ).measure()
    parts = [_with_rates(part) for part in (*limit, *compared)]
    return Outcome(
        title="Upsert of candles",
        work=__doc__ or "",
        parts=parts,
        reaches=_reaches(parts),
        configurations=CONFIGURATIONS,
        notes=["rows_written: rows that the phase left with a new version, counted by their transaction number."],
    )


def _side(server: stand.Server, name: str, module: str, rows: int, *, peer: bool = False, **more: bool) -> Side:
    return Side(
        name=name,
        module=f"benchmarks.sides.upsert_{module}",
        configuration=CONFIGURATIONS[name],
        work={"url": server.database(name), "rows": rows, **more},
        peer=peer,
    )


def _with_rates(part: Part) -> Part:
    for figures in part.figures.values():
        figures["rows_per_s"] = figures["rows"].over(figures["wall_s"])
    return part


def _reaches(parts: Sequence[Part]) -> list[Reach]:
    by_key = {part.key: part for part in parts}
    rewritten = by_key["repeated"].of(OURS, "rows_written")
    return [
        Reach(key="bare_new", text="new rows, ours / bare", value=by_key["new"].ratio(OURS, BARE), limit=1.25),
        Reach(
            key="bare_repeated",
            text="repeated rows, ours / bare",
            value=by_key["repeated"].ratio(OURS, BARE),
            limit=1.25,
        ),
        *(
            Reach(
                key=f"{key}_new",
                text=f"new rows, {name} / ours",
                value=by_key["new_peers"].ratio(name, OURS),
                limit=limit,
                at_least=True,
            )
            for key, name, limit in (
                ("cryptofeed", CRYPTOFEED, 5),
                ("pandas", PANDAS, 1),
                ("pandas_copy", PANDAS_COPY, 1),
                ("sqlalchemy", ALCHEMY, 1),
            )
        ),
        Reach(
            key="rewritten", text="rows that a repeat rewrites", value=Spread(rewritten.rounds), limit=0, unit="rows"
        ),
    ]

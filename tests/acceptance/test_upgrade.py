"""The way to this release and back: a database of the previous one, with rows, through real migrations and commands.

The previous release is the schema 0004. What it had stored must be the same to the byte after the upgrade and after
the way back; what this release stored in the older tables in between stays as well.
"""

import hashlib

import pytest

from collector import cli
from collector.clock import SystemClock
from collector.storage import schema
from collector.storage.database import Database
from tests.acceptance.program import NOBODY, Program

PREVIOUS = "0004"
ROWS = """
    INSERT INTO cycles (cadence, state, started_at, finished_at, instance, folder, simulated, rows_written, report)
    SELECT 'market', 'ok', at, at + interval '40 s', 'old:1', 'cycle_' || n, true, 3 * n, '{"sources": []}'
    FROM generate_series(1, 20) n, LATERAL (SELECT timestamptz '2026-01-05 00:00Z' + n * interval '5 min' AS at) t;
    INSERT INTO jobs (cycle_id, fingerprint, source, dataset, subject, instruments, assets, state, error, rows_written,
        rows_unchanged, rejects, started_at, finished_at)
    SELECT cycle_id, md5(cycle_id::text)::uuid, 'okx', 'candles', 'okx:BTC-USDT:perp', '{okx:BTC-USDT:perp}', '{}',
        CASE WHEN cycle_id % 7 = 0 THEN 'failed' ELSE 'ok' END, 'naïve "quote" \\ and 漢字', 3, 0, 1,
        started_at, finished_at
    FROM cycles;
    INSERT INTO rejects (job_id, seq, at, source, dataset, reason, detail, row)
    SELECT job_id, 1, finished_at, source, dataset, 'implausible_price', 'a row', '{"price": "-1"}' FROM jobs;
    INSERT INTO provider_state (source, paused_until, reason, banned, denied, updated_at)
    VALUES ('okx', '2099-01-01Z', 'HTTP 418', true, false, '2026-01-05Z');
    INSERT INTO provider_budgets VALUES
        ('okx', 'address', 'calls', 60, 100, 7, '[["2026-01-05T00:00:00+00:00", 7]]', '2026-01-05Z');
"""
MARKET = """
    INSERT INTO instruments (instrument, venue, base, quote, kind, venue_symbol, contract_size, followed, first_seen_at,
        last_seen_at)
    VALUES ('okx:BTC-USDT:perp', 'okx', 'BTC', 'USDT', 'perp', 'BTC-USDT-SWAP', 0.01, true, '2026-01-01Z', now());
    INSERT INTO candles (instrument_id, interval, open_time, open, high, low, close, volume, source, observed_at,
        received_at, cycle_id)
    SELECT 1, '1m', at, 100.000000000000000001 + n, 999, 50, 101 + n, CASE WHEN n % 5 = 0 THEN 0 END, 'okx', at, at, 1
    FROM generate_series(1, 500) n, LATERAL (SELECT timestamptz '2026-01-05 00:00Z' + n * interval '1 min' AS at) t;
"""


@pytest.fixture
def run(previous, monkeypatch, capsys):
    """Run a command on that database as the program does; return its status, output and complaint."""
    for name, value in previous.environment.items():
        if name.startswith("COLLECTOR_"):
            monkeypatch.setenv(name, value)

    def command(*words):
        status = cli.main(previous.command(*words)[2:])
        out, err = capsys.readouterr()
        return status, out, err

    return command


def contents(program):
    """Every table of the previous release -> a digest of its rows, as the server writes them."""
    tables = program.rows(
        """
        SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
        AND NOT relispartition AND relname <> 'alembic_version' ORDER BY 1
        """
    )
    found = {}
    for (table,) in tables:
        rows = sorted(str(row) for (row,) in program.rows(f'SELECT t::text FROM "{table}" t'))
        found[table] = (len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest())
    return found


@pytest.fixture
def previous(cluster, tmp_path):
    """An installation whose database is as the previous release left it."""
    url = cluster.create_database("template1")
    database = Database(url, clock=SystemClock())
    schema.upgrade(database.engine, PREVIOUS)
    program = Program(tmp_path, addresses=NOBODY, url=url)
    program.rows(ROWS)
    with database.transaction() as connection:
        connection.connection.cursor().execute(partitions())
    program.rows(MARKET)
    yield program
    database.close()
    cluster.drop(url)


def partitions():
    """The month that the rows above fall into, as the writer of that release makes it."""
    return """
        CREATE TABLE IF NOT EXISTS candles_2026_01 PARTITION OF candles
        FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z')
    """


def test_nothing_stored_is_lost_on_the_way_to_this_release_and_back(previous, run):
    before = contents(previous)
    assert before["candles"][0] == 500
    assert before["jobs"][0] == 20

    assert run("db", "upgrade")[0] == 0
    assert previous.value("SELECT version_num FROM alembic_version") == schema.head() != PREVIOUS
    after = contents(previous)
    assert {name: after[name] for name in before} == before
    assert run("db", "upgrade")[1].endswith("applied now: nothing\n")

    status, said, _ = run("db", "downgrade", PREVIOUS)
    assert status == 1
    undone = [line.split(":")[0] for line in said.splitlines() if line.startswith("would")]
    assert undone == ["would undo 0007", "would undo 0006", "would undo 0005"]
    assert contents(previous) == after  # only said

    previous.rows("UPDATE cycles SET rows_written = 777 WHERE cycle_id = 5")  # what this release stored meanwhile
    kept = {name: found for name, found in contents(previous).items() if name in before}
    assert run("db", "downgrade", PREVIOUS, "--yes")[::2] == (0, "")
    assert previous.value("SELECT version_num FROM alembic_version") == PREVIOUS
    assert contents(previous) == kept
    assert run("db", "downgrade", PREVIOUS, "--yes")[1] == "database is at 0004 already\n"

    assert run("db", "upgrade")[0] == 0  # and forward again
    again = contents(previous)
    assert {name: again[name] for name in before} == kept


def test_a_way_back_is_refused_while_a_collector_works_or_rows_are_only_in_sealed_files(previous, run):
    assert run("db", "upgrade")[0] == 0
    database = Database(previous.url, clock=SystemClock(), application_name="a collector")
    with database.writer_lock():
        status, _, complaint = run("db", "downgrade", PREVIOUS, "--yes")
    assert (status, complaint.count("\n")) == (3, 1)
    assert "a collector" in complaint
    with database.housekeeper_lock():
        status, _, complaint = run("db", "downgrade", PREVIOUS, "--yes")
    database.close()
    assert (status, complaint.count("\n")) == (3, 1)
    assert "another process keeps house" in complaint

    columns = previous.rows(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'cold_months'"
    )
    values = {"dataset": "'candles'", "month": "'2025-12-01Z'", "state": "'dropped'", "file": "'candles.parquet'"}
    given = {name: values.get(name, EMPTY.get(kind, "''")) for name, kind in columns}
    previous.rows(f"INSERT INTO cold_months ({', '.join(given)}) VALUES ({', '.join(given.values())})")
    status, _, complaint = run("db", "downgrade", PREVIOUS, "--yes")
    assert status == 2
    assert "1 sealed months are in files that schema 0004 cannot read" in complaint
    assert previous.value("SELECT version_num FROM alembic_version") == schema.head()
    assert run("db", "downgrade", "0006", "--yes")[0] == 0  # a release that knows of sealed months


def test_a_way_back_is_refused_while_tables_are_hypertables(previous, run):
    """The server of the tests has no TimescaleDB: its view is made by hand."""
    assert run("db", "upgrade")[0] == 0
    previous.rows("CREATE SCHEMA timescaledb_information")
    previous.rows(
        "CREATE VIEW timescaledb_information.hypertables AS "
        "SELECT 'public'::name AS hypertable_schema, 'candles'::name AS hypertable_name"
    )
    status, _, complaint = run("db", "downgrade", PREVIOUS, "--yes")
    assert status == 2
    assert "candles is a hypertable, which schema 0004 does not know" in complaint
    assert previous.value("SELECT version_num FROM alembic_version") == schema.head()


EMPTY = {
    "integer": "0",
    "bigint": "0",
    "ARRAY": "'{}'",
    "timestamp with time zone": "now()",
    "boolean": "false",
    "jsonb": "'{}'",
}


def test_a_schema_that_is_no_way_back_is_refused_in_one_line(run):
    for target in ("9999", "latest"):
        status, _, complaint = run("db", "downgrade", target, "--yes")
        assert (status, complaint.count("\n")) == (2, 1)
        assert f"{target!r} is no schema before 0004; use one of: 0003, 0002, 0001" in complaint


def test_the_real_program_takes_a_database_back(previous):
    done = previous.run("db", "downgrade", "0003", "--yes")
    assert (done.status, done.err) == (0, "")
    assert done.out == "database is at 0003; undone now: 0004\n"

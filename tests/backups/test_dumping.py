"""The number of a table: the same for the same rows whatever their order, another for anything else."""

import pytest
from sqlalchemy import text

from collector.storage.copies.dumping import has_rows, knows_revision, load_server, program_address, snapshot
from collector.storage.database import Database


def run(database, *statements):
    with database.transaction() as connection:
        for statement in statements:
            connection.execute(text(statement))


def held(database, table="probe"):
    with snapshot(database, "test") as moment:
        return moment.held(table, lambda: None)


@pytest.fixture
def probe(database):
    """A table whose rows can be put in any order."""
    run(database, "CREATE TABLE probe (name text, amount numeric, ratio double precision, at timestamptz, raw bytea)")
    return database


ROWS = (
    "('a', 1.10, 0.1, '2026-01-31 12:00+00', '\\x00ff')",
    "('b', 0, NULL, NULL, NULL)",
    "('b', 0, NULL, NULL, NULL)",
)


def fill(database, *rows):
    run(database, "TRUNCATE probe", *[f"INSERT INTO probe VALUES {row}" for row in rows])


def test_the_order_of_rows_does_not_matter(probe):
    fill(probe, *ROWS)
    before = held(probe)
    fill(probe, *reversed(ROWS))
    assert held(probe) == before
    assert before.rows == 3


@pytest.mark.parametrize(
    "changed",
    [
        ("('a', 1.1, 0.1, '2026-01-31 12:00+00', '\\x00ff')", *ROWS[1:]),  # the same number, written otherwise
        ("('a', 1.10, 0.1, '2026-01-31 12:00:00.000001+00', '\\x00ff')", *ROWS[1:]),
        ("('a', 1.10, 0.1, '2026-01-31 12:00+00', '\\x00fe')", *ROWS[1:]),
        ("('a', 1.10, 0.10000000000000002, '2026-01-31 12:00+00', '\\x00ff')", *ROWS[1:]),
        (*ROWS[:2], "('b', NULL, NULL, NULL, NULL)"),  # zero is not missing
        (*ROWS[:2], "('', 0, NULL, NULL, NULL)"),
        (ROWS[0], ROWS[0], ROWS[1]),  # as many rows, another one twice
        ROWS[:2],
    ],
)
def test_anything_else_matters(probe, changed):
    fill(probe, *ROWS)
    before = held(probe)
    fill(probe, *changed)
    assert held(probe) != before


def test_an_empty_table_is_nought(probe):
    found = held(probe)
    assert (found.rows, found.hash) == (0, "0")


def test_the_settings_of_a_server_do_not_matter(probe):
    fill(probe, *ROWS)
    before = held(probe)
    name = probe.url.database
    for setting in ("datestyle = 'German'", "extra_float_digits = -10", "bytea_output = 'escape'"):
        run(probe, f'ALTER DATABASE "{name}" SET {setting}')
    again = Database(probe.url.render_as_string(hide_password=False), clock=probe.clock)
    assert held(again) == before
    again.close()


def test_a_snapshot_does_not_see_what_comes_later(probe):
    fill(probe, *ROWS)
    before = held(probe)
    with snapshot(probe, "test") as moment:
        run(probe, "INSERT INTO probe VALUES ('later', 1, 1, now(), NULL)", "UPDATE probe SET amount = 7")
        assert moment.held("probe", lambda: None) == before
    assert held(probe).rows == 4


def test_a_snapshot_knows_the_tables_and_not_their_partitions(database):
    run(
        database,
        "CREATE TABLE candles_2026_01 PARTITION OF candles "
        "FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2026-02-01 00:00+00')",
    )
    with snapshot(database, "test") as moment:
        assert {"candles", "cycles", "alembic_version"} <= set(moment.tables)
        assert "candles_2026_01" not in moment.tables
        assert "latest_tickers" not in moment.tables
        assert moment.simulated() is None


def test_whether_rows_are_made_up_is_taken_from_the_cycles(database):
    for made_up in ("false", "true"):
        run(
            database,
            "INSERT INTO cycles (cadence, state, started_at, instance, folder, simulated) "
            f"VALUES ('market', 'running', now(), 'i', 'f', {made_up})",
        )
        with snapshot(database, "test") as moment:
            assert moment.simulated() is (made_up == "true")


def test_counting_ends_when_the_one_who_watches_raises(probe):
    run(probe, "DROP TABLE probe", "CREATE VIEW slow AS SELECT pg_sleep(60)::text AS x", "CREATE TABLE probe (x text)")
    # a table whose reading takes a minute
    run(probe, "INSERT INTO probe VALUES ('x')", "ALTER TABLE probe RENAME TO kept")

    def stop():
        raise KeyboardInterrupt

    began = probe.clock.monotonic()
    with snapshot(probe, "test") as moment:
        moment._tables["slow"] = "public.slow"
        with pytest.raises(KeyboardInterrupt):
            moment.held("slow", stop)
    assert probe.clock.monotonic() - began < 10


def test_tables_with_rows_are_named_and_the_schema_version_is_none(database):
    assert has_rows(database) == []
    run(database, "INSERT INTO provider_state (source, reason, banned, updated_at) VALUES ('okx', '', false, now())")
    assert has_rows(database) == ["provider_state"]


def test_the_server_is_known_with_the_extensions_in_use(database):
    found = load_server(database)
    assert found.major >= 14
    assert found.version.startswith(str(found.major))
    assert found.size_bytes > 1_000_000
    assert (found.extensions, found.unused_extensions) == ((), ())


def test_the_address_for_programs_holds_no_secret(clock):
    database = Database("postgresql://me:s3cr%20t@db.example:6432/prices?sslmode=require", clock=clock)
    address, environment = program_address(database)
    assert address == "host=db.example port=6432 user=me dbname=prices sslmode=require"
    assert environment == {"PGPASSWORD": "s3cr t"}
    hidden = Database("postgresql://me@/prices?host=/tmp/x%20y&password=s3cret&sslpassword=s3cret", clock=clock)
    address, environment = program_address(hidden)
    assert address == "host='/tmp/x y' user=me dbname=prices"
    assert environment == {"PGPASSWORD": "s3cret"}


def test_revisions_of_this_program_are_known_and_no_others():
    assert knows_revision("0001")
    assert not knows_revision("from_the_future")

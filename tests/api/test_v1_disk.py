"""What the disk holds and for how long it lasts: sizes are the server's own, growth says where it comes from."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from jsonschema_rs import Draft202012Validator
from sqlalchemy import text
from sqlalchemy.engine import make_url

from collector.clock import SystemClock
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.serving import disk, server_folder
from tests.api.v1_stand import Stand
from tests.storage.samples import NOON, batch, listing

DAY = timedelta(days=1)
FIRST = NOON - 10 * DAY  # the 21st: last month began before it


@pytest.fixture
def stand(migrated_url, tmp_path):
    made = Stand(migrated_url, more={"data_folder": tmp_path})
    yield made
    made.close()


def execute(stand, *statements):
    with stand.database.transaction() as connection:
        for statement in statements:
            connection.execute(text(statement))


def analyze(stand, *tables):
    with stand.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"ANALYZE {', '.join(tables)}"))


def began(stand, *times):
    for at in times:
        stand.writer.begin_cycle("market", at, instance="test:1", folder="f", simulated=True)


def size(stand, *names):
    with stand.database.reading() as connection:
        query = text("SELECT pg_total_relation_size(to_regclass(:name))")
        return sum(connection.execute(query, {"name": name}).scalar_one() for name in names)


def tables(stand):
    return {row["table"]: row for row in stand.page("/disk")["data"]["tables"]}


def ticks(since, until, instruments=50):
    return f"""
        INSERT INTO tickers (source, observed_at, received_at, cycle_id, instrument_id, last_price)
        SELECT 'okx', o, o, 1, i, 1 FROM generate_series(1, {instruments}) i,
            generate_series(timestamptz '{since}', timestamptz '{until}', interval '1 hour') o
    """


def test_every_table_is_there_with_its_indexes_and_partitions_the_largest_first(stand):
    with stand.database.transaction() as connection:
        timeseries.ensure_partitions(connection, "tickers", [(2025, 11), (2026, 1)])
    execute(stand, ticks("2025-11-01Z", "2025-11-05Z"), ticks("2026-01-01Z", "2026-01-05Z"))
    told = stand.page("/disk")["data"]
    rows = {row["table"]: row for row in told["tables"]}
    assert rows["tickers"]["total_bytes"] == size(stand, "tickers_2025_11", "tickers_2026_01")
    assert told["tables"][0]["table"] == "tickers"
    assert not [name for name in rows if name[-1].isdigit()]  # partitions are part of their table
    assert {"cycles", "candles", "signals", "trends", "raw_payloads", "alembic_version"} <= set(rows)
    assert told["database_bytes"] > sum(row["total_bytes"] for row in rows.values())


def test_a_table_of_observations_grows_by_its_last_two_months_over_the_days_collected_in_them(stand):
    with stand.database.transaction() as connection:
        timeseries.ensure_partitions(connection, "tickers", [(2025, 11), (2025, 12), (2026, 1)])
    execute(stand, *(ticks(f"{month}-22Z", f"{month}-24Z") for month in ("2025-11", "2025-12", "2026-01")))
    began(stand, FIRST)
    row = tables(stand)["tickers"]
    assert row["bytes_a_day"] == pytest.approx(size(stand, "tickers_2025_12", "tickers_2026_01") / 10)
    assert row["how"] == disk.BY_MONTHS
    began(stand, NOON - 300 * DAY)  # of which 61.5 since the first of December
    assert tables(stand)["tickers"]["bytes_a_day"] == pytest.approx(
        size(stand, "tickers_2025_12", "tickers_2026_01") / 61.5
    )


def test_bars_grow_by_those_that_come_a_day_however_much_history_was_fetched(stand):
    with stand.database.transaction() as connection:
        timeseries.ensure_partitions(connection, "candles", [(2026, 1)])
    execute(
        stand,
        """INSERT INTO candles (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time,
            open, high, low, close, volume)
        SELECT 'okx', o, o, 1, i, '1h', o, 1, 1, 1, 1, 1 FROM generate_series(1, 10) i,
            generate_series(timestamptz '2026-01-01Z', timestamptz '2026-01-30 23:00Z', interval '1 hour') o""",
        """INSERT INTO coverage (instrument_id, dataset, interval, since, until, state, source, reason, updated_at)
        VALUES (1, 'candles', '1h', '2026-01-01Z', '2026-01-31Z', 'observed', 'okx', '', now()),
            (2, 'candles', '1h', '2026-01-01Z', '2026-01-10Z', 'observed', 'okx', '', now()),
            (2, 'candles', '1h', '2026-01-10Z', '2026-01-31Z', 'filled', 'kraken', '', now()),
            (3, 'candles', '1h', '2026-01-01Z', '2026-01-20Z', 'observed', 'okx', '', now()),
            (4, 'candles', '1h', '2026-01-01Z', '2026-01-31Z', 'missing', '', '', now()),
            (5, 'candles', '1d', '2026-01-01Z', '2026-01-29Z', 'observed', 'okx', '', now()),
            (6, 'funding', '', '2026-01-01Z', '2026-01-31Z', 'observed', 'okx', '', now())""",
    )
    began(stand, FIRST)
    unknown = stand.page("/disk")["data"]
    assert unknown["bytes_a_day"] is None
    assert unknown["days_left"] is None
    assert unknown["days_left_unknown"] == f"the growth of candles is {disk.NOT_COUNTED_YET}"
    analyze(stand, "candles")
    row = tables(stand)["candles"]
    # Two series of hours and one of days: 49 bars a day, of 10 x 30 x 24 = 7200 that are stored.
    assert row["rows"] == 7200
    assert row["bytes_a_day"] == pytest.approx(49 * row["total_bytes"] / 7200)
    assert row["how"] == disk.BY_BARS


def test_tables_whose_rows_are_deleted_or_changed_in_place_are_not_counted(stand):
    began(stand, FIRST)
    stand.write(batch(listing()))
    rows = tables(stand)
    assert {rows[name]["how"] for name in ("raw_payloads", "jobs", "rejects")} == {disk.BY_AGE}
    assert {rows[name]["how"] for name in ("assets", "instruments", "coverage")} == {disk.IN_PLACE}
    assert {rows[name]["bytes_a_day"] for name in ("raw_payloads", "jobs", "assets")} == {None}
    assert rows["revisions"]["how"] == disk.BY_LIFE
    assert rows["revisions"]["bytes_a_day"] == pytest.approx(size(stand, "revisions") / 10)


def test_days_left_are_the_free_bytes_over_what_comes_a_day(stand, tmp_path):
    began(stand, FIRST)
    analyze(stand, "candles", "indicators")
    before = shutil.disk_usage(tmp_path)
    told = stand.page("/disk")["data"]
    assert told["capacity_bytes"] == before.total
    assert told["free_bytes"] == pytest.approx(before.free, abs=2**30)
    rate = sum(row["bytes_a_day"] or 0 for row in told["tables"])
    assert told["bytes_a_day"] == pytest.approx(rate)
    assert told["days_left"] == pytest.approx(told["free_bytes"] / rate)
    assert (told["free_unknown"], told["days_left_unknown"]) == ("", "")
    assert (told["first_cycle_at"], told["last_cycle_at"]) == ("2026-01-21T12:00:00.000Z", "2026-01-31T12:00:00.000Z")


@pytest.mark.parametrize("earlier", [[], [NOON - timedelta(hours=23)]])
def test_before_a_day_is_over_nobody_says_how_long_it_lasts(stand, earlier):
    began(stand, *earlier)
    told = stand.page("/disk")["data"]
    assert (told["bytes_a_day"], told["days_left"]) == (None, None)
    assert told["days_left_unknown"].endswith("collected for less than a day")


def test_without_a_cycle_nothing_is_known_but_sizes(stand):
    execute(stand, "DELETE FROM cycles")
    told = stand.page("/disk")["data"]
    assert (told["first_cycle_at"], told["days_left"]) == (None, None)
    assert told["database_bytes"] > 0


def test_the_folder_of_a_server_on_this_machine_is_found_by_asking_it(migrated_url):
    stand = Stand(migrated_url)
    told = stand.page("/disk")["data"]
    assert told["free_bytes"] > 0
    assert told["free_unknown"] == ""
    stand.close()


def test_a_folder_that_is_gone_is_told_and_not_guessed(migrated_url, tmp_path):
    stand = Stand(migrated_url, more={"data_folder": tmp_path / "gone"})
    told = stand.page("/disk")["data"]
    assert (told["free_bytes"], told["capacity_bytes"], told["days_left"]) == (None, None, None)
    assert told["free_unknown"] == "the folder of the database cannot be looked at from here"
    assert str(tmp_path) not in stand.get("/disk").text
    stand.close()


def test_the_disk_of_another_machine_is_not_known():
    far = Database("postgresql://someone@db.example.org/collector", clock=SystemClock())
    assert server_folder(far) == (None, "the database is on another machine")
    far.close()


def test_a_server_that_does_not_tell_this_user_its_folder_is_told_as_such(migrated_url, database):
    name = make_url(migrated_url).database
    with database.transaction() as connection:
        connection.execute(text("DROP ROLE IF EXISTS asks_little"))
        connection.execute(text("CREATE ROLE asks_little LOGIN"))
        connection.execute(text(f'GRANT CONNECT ON DATABASE "{name}" TO asks_little'))
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO asks_little"))
    url = make_url(migrated_url).set(username="asks_little").render_as_string(hide_password=False)
    asked = Database(url, clock=SystemClock(), read_only=True)
    try:
        assert server_folder(asked) == (None, "the server does not tell this user where its data is")
        assert disk.disk_use(asked).database_bytes > 0
    finally:
        asked.close()
        with database.transaction() as connection:
            connection.execute(text("DROP OWNED BY asks_little; DROP ROLE asks_little"))


def test_the_first_month_of_a_year_follows_the_last_of_the_one_before(migrated_url):
    stand = Stand(migrated_url, now=datetime(2026, 1, 5, tzinfo=UTC))
    with stand.database.transaction() as connection:
        timeseries.ensure_partitions(connection, "tickers", [(2025, 12)])
    execute(stand, ticks("2025-12-01Z", "2025-12-03Z"))
    began(stand, FIRST)
    assert tables(stand)["tickers"]["bytes_a_day"] == pytest.approx(size(stand, "tickers_2025_12") / 10)
    stand.close()


def test_an_answer_and_the_example_have_the_shape_that_the_document_promises(stand):
    document = stand.app.openapi()
    content = document["paths"]["/api/v1/disk"]["get"]["responses"]["200"]["content"]["application/json"]
    validator = Draft202012Validator({**content["schema"], "components": document["components"]})
    validator.validate(content["example"])
    answer = stand.page("/disk")
    validator.validate(answer)
    assert (answer["source"], answer["stale"], answer["simulated"]) == (["collector"], False, True)
    assert stand.refusal("/disk", unheard_of=1) == (400, "INVALID_PARAMETER")


def test_a_database_that_is_away_is_told_as_such(cluster):
    url = cluster.create_database()
    stand = Stand(url)
    cluster.drop(url)
    answer = stand.get("/disk")
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "The database cannot answer now")
    stand.close()

"""One SELECT sees the database and files as one table, exactly, and changes nothing."""

import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from collector.errors import ConfigError
from collector.sinks.files.exporting import Request, export
from collector.sinks.files.querying import Places, answered, print_answer

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def asked(database, statement, folder, *folders, **bounds):
    places = Places(database=database, cold=folder / "cold", folders=folders, **bounds)
    with answered(places, statement) as result:
        return result.fetchall()


def test_rows_of_the_database_are_counted_and_exact(filled, tmp_path):
    statement = "select venue, count(*), min(open), max(volume) from candles group by venue order by venue"
    assert asked(filled, statement, tmp_path) == [
        ("kraken", 600, Decimal("100.5"), Decimal("448.5")),
        ("okx", 1200, Decimal("100.5"), Decimal("448.5")),
    ]


def test_rows_that_are_in_both_count_once_and_rows_of_files_alone_count(changing, change, tmp_path):
    export(changing, Request(datasets=["candles"]), tmp_path / "out", now=NOW)
    change(changing, "DELETE FROM candles WHERE open_time < '2026-01-31+00'")
    statement = "select count(*), count(distinct (instrument, interval, open_time)) from candles"
    assert asked(changing, statement, tmp_path) == [(1728, 1728)]
    assert asked(changing, statement, tmp_path, tmp_path / "out") == [(1800, 1800)]


def test_a_sealed_month_and_the_rows_that_came_after_it_are_one_table(changing, change, tmp_path):
    export(changing, Request(datasets=["candles"]), tmp_path / "cold", now=NOW)
    name = "candles/venue=okx/month=2026-01/candles.parquet"
    change(changing, "DELETE FROM candles WHERE instrument_id < 3 AND open_time < '2026-01-31+00'")
    change(
        changing,
        "INSERT INTO cold_months (dataset, month, state, generation, file, rows, size, sha256, fingerprint, hot_rows, "
        "hot_fingerprint, replaced, stale, updated_at) VALUES ('candles', '2026-01-01+00', 'dropped', 1, :name, 1, 1, "
        "'', '', 0, '', 0, '{}', now())",
        name=name,
    )
    assert asked(changing, "select count(*) from candles", tmp_path) == [(1800,)]


def test_two_tables_join_and_a_table_may_be_named_twice(filled, tmp_path):
    statement = """
        with bars as (select * from candles where interval = '1h')
        select count(*) from bars a join bars b using (instrument, open_time) join instruments i using (instrument)
    """
    assert asked(filled, statement, tmp_path) == [(900,)]


def test_a_number_that_no_decimal_holds_makes_its_column_double_and_that_is_said(filled, tmp_path):
    told = []
    places = Places(database=filled, cold=tmp_path / "cold")
    statement = "select max(total_supply), count(*) filter (total_supply > 1e20) from market_snapshots"
    with answered(places, statement, note=told.append) as result:
        ((most, above),) = result.fetchall()
    assert most == pytest.approx(1.23456789012345678e41, rel=1e-12)
    assert above == 1
    assert [text for text in told if text.startswith("market_snapshots.total_supply: ")]


def test_a_sealed_file_that_is_gone_is_named_with_what_to_do_and_costs_no_other_time(changing, change, tmp_path):
    change(
        changing,
        "INSERT INTO cold_months (dataset, month, state, generation, file, rows, size, sha256, fingerprint, hot_rows, "
        "hot_fingerprint, replaced, stale, updated_at) VALUES ('candles', '2025-06-01+00', 'dropped', 1, "
        "'gone.parquet', 1, 1, '', '', 0, '', 0, '{}', now())",
    )
    with pytest.raises(ConfigError, match=r"gone\.parquet: the file of a sealed month is not there; bring it back"):
        asked(changing, "select count(*) from candles", tmp_path)
    since = datetime(2026, 1, 1, tzinfo=UTC)
    assert asked(changing, "select count(*) from candles", tmp_path, since=since) == [(1800,)]


def test_a_range_reads_less(filled, tmp_path):
    since = datetime(2026, 2, 1, tzinfo=UTC)
    assert asked(filled, "select min(open_time) from candles", tmp_path, since=since) == [(since,)]


@pytest.mark.parametrize(
    "statement",
    [
        "delete from candles",
        "select 1; drop table candles",
        "create table x as select 1",
        "copy (select 1) to '/tmp/never.csv'",
        "attach 'x.db'",
        "pragma database_list",
        "explain delete from candles",
        "explain copy (select 1) to '/tmp/never.csv'",
        "explain analyze select 1",
        "explain (analyze) select 1",
        "describe insert into candles select * from candles",
        "summarize (delete from candles)",
        "show tables; drop table candles",
        "call pragma_version()",
        "",
    ],
)
def test_anything_but_one_select_is_refused_in_one_line(filled, tmp_path, statement):
    with pytest.raises(ConfigError) as refused:
        asked(filled, statement, tmp_path)
    assert "\n" not in str(refused.value)


def test_what_only_reads_is_answered_too(filled, tmp_path):
    columns = {row[0]: row[1] for row in asked(filled, "describe candles", tmp_path)}
    assert (columns["instrument"], columns["open_time"]) == ("VARCHAR", "TIMESTAMP WITH TIME ZONE")
    assert asked(filled, "DESCRIBE select 1 as x", tmp_path)[0][:2] == ("x", "INTEGER")
    tables = [name for (name,) in asked(filled, "show tables;", tmp_path)]
    assert {"candles", "funding_rates", "signals"} <= set(tables)
    summary = {row[0]: row for row in asked(filled, "summarize funding_rates", tmp_path)}
    assert summary["rate"][1:3] == ("DECIMAL(38,28)", "-0.0001234500000000000000000000")
    assert summary["rate"][10] == 121  # rows
    ((_, plan),) = asked(filled, "explain select * from candles", tmp_path)
    assert "candles" in plan


def test_a_plan_is_printed_in_the_lines_it_is_drawn_in(filled, tmp_path):
    places, out = Places(database=filled, cold=tmp_path), io.StringIO()
    with answered(places, "explain select 1") as result:
        print_answer(result, "table", out, limit=5, simulated=False)
    assert out.getvalue().count("\n") >= 4
    assert "explain_key" not in out.getvalue()


def test_an_unknown_table_is_told_in_one_line(filled, tmp_path):
    with pytest.raises(ConfigError, match="candle_sticks"):
        asked(filled, "select * from candle_sticks", tmp_path)


def test_json_tells_exact_numbers_as_text_and_null_as_null(filled, tmp_path):
    places = Places(database=filled, cold=tmp_path)
    statement = "select open, quote_volume, open_time from candles order by instrument, interval, open_time limit 1"
    out = io.StringIO()
    with answered(places, statement) as result:
        print_answer(result, "json", out, limit=5, simulated=True)
    told = json.loads(out.getvalue())
    assert told["simulated"] is True
    assert told["rows"] == [{"open": "100.5", "quote_volume": None, "open_time": "2026-01-30T22:00:00+00:00"}]

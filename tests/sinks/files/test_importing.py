"""An import never changes what is newer, and refuses what it cannot vouch for."""

from datetime import UTC, datetime

import pytest

from collector.errors import ConfigError, SinkError
from collector.sinks.files.exporting import Request, export
from collector.sinks.files.importing import import_folder, text_parts

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BAR = "instrument_id = 2 AND interval = '1m' AND open_time = '2026-01-30 22:00+00'"


def exported(database, folder, *datasets, **request):
    return export(database, Request(datasets=datasets, **request), folder, now=NOW)


def test_an_older_value_of_a_file_leaves_the_newer_one_alone(changing, change, rows_of, tmp_path):
    exported(changing, tmp_path, "candles")
    change(changing, f"UPDATE candles SET close = 100.9, received_at = '2026-02-03+00' WHERE {BAR}")
    done = import_folder(changing, tmp_path)
    assert rows_of(changing, f"SELECT close::text FROM candles WHERE {BAR}") == [("100.9",)]
    assert (done.landed["candles"].kept, done.landed["candles"].replaced) == (1, 0)
    assert rows_of(changing, "SELECT count(*) FROM revisions") == [(0,)]


def test_progress_counts_the_check_and_the_storing_apart_each_row_once(filled, emptied, tmp_path):
    exported(filled, tmp_path, "candles", "cycles")
    told = []
    import_folder(emptied, tmp_path, told.append, lambda what, rows: told.append(f"{what} {rows}"))
    begun = told.index("import: storing 1804")  # 3 instruments, 1800 candles, 1 cycle
    assert told[0] == "import: checking 1804"
    assert (sum(told[1:begun]), sum(told[begun + 1 :])) == (1804, 1804)


def test_a_newer_closed_value_of_a_file_replaces_the_older_one_with_a_note(changing, change, rows_of, tmp_path):
    change(changing, f"UPDATE candles SET close = 100.9, received_at = '2026-02-03+00' WHERE {BAR}")
    exported(changing, tmp_path, "candles")
    change(changing, f"UPDATE candles SET close = 100.2, received_at = '2026-01-31+00' WHERE {BAR}")
    done = import_folder(changing, tmp_path)
    assert done.landed["candles"].replaced == 1
    assert rows_of(changing, f"SELECT close::text FROM candles WHERE {BAR}") == [("100.9",)]
    assert rows_of(changing, "SELECT subject, columns, old ->> 'close', new ->> 'close' FROM revisions") == [
        ("okx:BTC-USDT:perp", ["close"], "100.2", "100.9")
    ]


def test_rows_keep_their_cycles_only_where_no_other_cycle_can_be_meant(filled, changing, change, rows_of, tmp_path):
    exported(filled, tmp_path, "candles")
    change(changing, "TRUNCATE candles")
    import_folder(changing, tmp_path)
    assert rows_of(changing, "SELECT DISTINCT cycle_id FROM candles") == [(-1,)]
    told = rows_of(changing, "SELECT cadence, state, simulated FROM cycles WHERE cycle_id = -1")
    assert told == [("import", "ok", False)]


def test_the_collector_s_next_cycle_has_no_number_that_came_in(filled, emptied, change, rows_of, tmp_path):
    exported(filled, tmp_path, "candles")
    import_folder(emptied, tmp_path)
    change(
        emptied,
        "INSERT INTO cycles (cadence, state, started_at, instance, folder, simulated) "
        "VALUES ('market', 'running', now(), 'x', 'y', false)",
    )
    assert rows_of(emptied, "SELECT max(cycle_id) FROM cycles") == [(2,)]


def test_a_folder_that_was_spoiled_is_refused_before_anything_is_stored(filled, emptied, rows_of, tmp_path):
    exported(filled, tmp_path, "funding_rates")
    path = tmp_path / "funding_rates/venue=okx/month=2026-02/funding_rates.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SinkError, match="nothing was imported"):
        import_folder(emptied, tmp_path)
    assert rows_of(emptied, "SELECT count(*) FROM instruments") == [(0,)]


def test_a_folder_without_a_manifest_is_refused(filled, emptied, tmp_path):
    exported(filled, tmp_path, "funding_rates")
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(SinkError, match=r"no manifest\.json"):
        import_folder(emptied, tmp_path)


def test_an_export_of_another_schema_is_refused(filled, emptied, change, tmp_path):
    exported(filled, tmp_path, "funding_rates")
    found = emptied.revision()
    change(emptied, "UPDATE alembic_version SET version_num = '0001'")
    try:
        with pytest.raises(ConfigError, match="of revision"):
            import_folder(emptied, tmp_path)
    finally:
        change(emptied, "UPDATE alembic_version SET version_num = :found", found=found)


def made_up(database, change, folder, *datasets):
    """An export of the same rows, marked as simulated."""
    change(database, "UPDATE cycles SET simulated = true")
    exported(database, folder, *datasets)
    change(database, "TRUNCATE candles, instruments, cycles RESTART IDENTITY CASCADE")


def test_simulated_data_does_not_come_into_an_empty_database_of_real_data(changing, change, rows_of, tmp_path):
    made_up(changing, change, tmp_path, "candles", "cycles")
    with pytest.raises(ConfigError, match=r"holds SIMULATED data .* --demo, or add --allow-simulated"):
        import_folder(changing, tmp_path)
    assert rows_of(changing, "SELECT count(*) FROM instruments UNION ALL SELECT count(*) FROM cycles") == [(0,), (0,)]


def test_simulated_data_that_is_allowed_in_keeps_its_mark_on_every_row(changing, change, rows_of, tmp_path):
    made_up(changing, change, tmp_path, "candles", "cycles")
    done = import_folder(changing, tmp_path, allow_simulated=True)
    marks = "SELECT DISTINCT c.cycle_id, c.simulated FROM candles LEFT JOIN cycles c USING (cycle_id)"
    assert rows_of(changing, marks) == [(-1, True)]
    assert done.notes == ("cycles: not imported, made-up rows are of cycle -1",)
    assert import_folder(changing, tmp_path, allow_simulated=True).landed["candles"].inserted == 0


def test_a_database_of_simulated_data_takes_it_with_its_cycles(changing, change, rows_of, tmp_path):
    made_up(changing, change, tmp_path, "candles", "cycles")
    import_folder(changing, tmp_path, simulated=True)
    assert rows_of(changing, "SELECT DISTINCT cycle_id FROM candles") == [(1,)]
    assert rows_of(changing, "SELECT simulated FROM cycles WHERE cycle_id = 1") == [(True,)]


def test_a_view_of_the_past_is_not_imported(filled, emptied, tmp_path):
    exported(filled, tmp_path, "candles", as_of=datetime(2026, 1, 31, tzinfo=UTC))
    with pytest.raises(ConfigError, match="that is not imported"):
        import_folder(emptied, tmp_path)


def test_parts_of_a_csv_file_end_between_rows_and_not_inside_a_text(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b'a,b\n1,"x\ny ""z"\n2,w\n')
    assert list(text_parts(path, size=1)) == [b'1,"x\ny ""z"\n', b"2,w\n"]

"""Files hold what the database holds, to the last digit, and give it back to another database."""

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

from collector.errors import ConfigError, SinkError
from collector.sinks.files.exporting import Request, export
from collector.sinks.files.importing import import_folder
from collector.sinks.files.manifest import read_manifest
from collector.sinks.files.parquet import write_slice
from collector.sinks.files.verifying import mismatches
from collector.storage.outgoing.copying import load_slices
from collector.storage.outgoing.datasets import EXPORTABLE
from tests.sinks.files.filled import DATASETS, ODD_TEXT

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ENDINGS = {".parquet", ".csv", ".jsonl"}


def data_files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in ENDINGS
    }


def exported(database, folder, *datasets, **request):
    return export(database, Request(datasets=datasets or DATASETS, **request), folder, now=NOW)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_export_import_export_gives_byte_equal_files_and_a_second_import_changes_nothing(
    filled, emptied, tmp_path, form
):
    first = exported(filled, tmp_path / "first", format=form)
    assert list(mismatches(tmp_path / "first", read_manifest(tmp_path / "first"))) == []
    import_folder(emptied, tmp_path / "first")
    again = import_folder(emptied, tmp_path / "first")
    assert {landed.inserted + landed.replaced for landed in again.landed.values()} == {0}
    exported(emptied, tmp_path / "second", format=form)
    # instruments, candles, funding, snapshots, books, indicators, signals, assets, details, coverage, cycles
    assert first.rows == 3 + 1800 + 121 + 2 + 2 + 2 + 1 + 1 + 1 + 2 + 1
    assert data_files(tmp_path / "second") == data_files(tmp_path / "first")


def test_parquet_keeps_exact_numbers_and_tells_null_from_zero_and_from_empty(filled, tmp_path):
    exported(filled, tmp_path, "candles", "asset_details", "order_books")
    candles = pq.read_table(tmp_path / "candles/venue=okx/month=2026-01/candles.parquet", partitioning=None)
    first = candles.slice(0, 1).to_pylist()[0]
    assert first["instrument"] == "okx:BTC-USDT:perp"
    assert first["open"] == Decimal("100.5")
    assert first["volume"] == 0
    assert first["quote_volume"] is None
    assert str(candles.schema.field("volume").type) == "decimal128(38, 18)"
    details = pq.read_table(tmp_path / "asset_details/source=coingecko/asset_details.parquet", partitioning=None)
    assert details.column("homepage").to_pylist() == [""]
    assert details.column("country_origin").to_pylist() == [None]
    assert details.column("name").to_pylist() == [ODD_TEXT]
    assert details.column("categories").to_pylist() == [["a, b", ODD_TEXT, ""]]
    books = pq.read_table(tmp_path / "order_books/venue=okx/month=2026-01/order_books.parquet", partitioning=None)
    assert books.column("ask_prices").to_pylist() == [[], [Decimal(101), Decimal(102)]]


def test_a_number_that_no_decimal_holds_is_kept_as_text_and_said_so(filled, tmp_path):
    manifest = exported(filled, tmp_path, "market_snapshots")
    path = tmp_path / "market_snapshots/source=coingecko/month=2026-01/market_snapshots.parquet"
    snapshots = pq.read_table(path, partitioning=None)
    assert snapshots.column("total_supply").to_pylist() == ["21000000", "123456789012345678901234567890123456789012"]
    assert snapshots.column("price_usd").to_pylist() == ["100000.10", "0.000000000000000000000000000001"]
    assert snapshots.column("market_cap_usd").to_pylist() == [Decimal(2_000_000_000_000), Decimal(0)]
    assert manifest.files[0].facts.texts == ("price_usd", "total_supply")
    assert "as text" in manifest.notes[0]


def test_csv_and_json_lines_keep_the_letters_of_numbers(filled, tmp_path):
    exported(filled, tmp_path / "c", "candles", format="csv")
    exported(filled, tmp_path / "j", "candles", format="jsonl")
    with (tmp_path / "c/candles/venue=okx/month=2026-01/candles.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    line = (tmp_path / "j/candles/venue=okx/month=2026-01/candles.jsonl").read_text().splitlines()[0]
    assert (row["open"], row["volume"], row["quote_volume"]) == ("100.50", "0", "")
    told = json.loads(line)
    assert (told["open"], told["volume"], told["quote_volume"]) == ("100.50", "0", None)


def test_a_range_is_cut_exactly_and_the_manifest_tells_rows_ends_sources_and_holes(filled, tmp_path):
    since, until = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, 0, 30, tzinfo=UTC)
    manifest = exported(filled, tmp_path, "candles", since=since, until=until)
    files = {entry.path: entry for entry in manifest.files if entry.dataset == "candles"}
    january = files["candles/venue=okx/month=2026-01/candles.parquet"]
    february = files["candles/venue=okx/month=2026-02/candles.parquet"]
    assert (january.facts.rows, february.facts.rows) == (144 * 4, 3 * 4)  # bars every 10 minutes, 2 series x 2 lengths
    assert january.facts.first == since
    assert february.facts.last == datetime(2026, 2, 1, 0, 20, tzinfo=UTC)
    assert january.facts.sources == ("okx",)
    assert january.holes == ()
    assert [(hole.instrument, hole.reason) for hole in february.holes] == [("okx:BTC-USDT:perp", "timeout")]


def test_order_within_a_file_does_not_follow_the_numbers_of_the_database(filled, tmp_path):
    exported(filled, tmp_path, "candles")
    table = pq.read_table(tmp_path / "candles/venue=okx/month=2026-02/candles.parquet", partitioning=None)
    names = table.column("instrument").to_pylist()
    assert names == sorted(names)
    assert names[0] == "okx:BTC-USDT:perp"  # stored after ZEC


def spoiled(path):
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(bytes(body))


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_verify_finds_a_changed_byte_a_missing_file_and_one_too_many(filled, tmp_path, form):
    exported(filled, tmp_path, "funding_rates", format=form)
    folder = tmp_path / "funding_rates/venue=okx"
    spoiled(folder / f"month=2026-01/funding_rates.{form}")
    (folder / f"month=2026-02/funding_rates.{form}").rename(folder / f"stranger.{form}")
    found = list(mismatches(tmp_path, read_manifest(tmp_path)))
    assert any("month=2026-01" in line for line in found)
    assert f"funding_rates/venue=okx/month=2026-02/funding_rates.{form}: is missing" in found
    assert f"funding_rates/venue=okx/stranger.{form}: is not in the manifest" in found


def test_a_manifest_that_was_changed_by_hand_is_refused(filled, tmp_path):
    exported(filled, tmp_path, "funding_rates")
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"rows": 93', '"rows": 94'))
    with pytest.raises(SinkError, match="was changed after it was written"):
        read_manifest(tmp_path)


def test_a_folder_of_something_else_is_never_written_to(filled, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds something that is no export"):
        exported(filled, tmp_path, "candles")


def test_an_export_into_its_own_folder_replaces_what_was_there(filled, tmp_path):
    exported(filled, tmp_path, "candles", "funding_rates")
    exported(filled, tmp_path, "candles")
    assert not (tmp_path / "funding_rates/venue=okx/month=2026-01/funding_rates.parquet").exists()
    assert list(mismatches(tmp_path, read_manifest(tmp_path))) == []


def test_simulated_data_says_so_in_name_manifest_and_file(changing, change, tmp_path):
    change(changing, "UPDATE cycles SET simulated = true")
    manifest = exported(changing, tmp_path, "candles")
    path = tmp_path / "candles/venue=okx/month=2026-01/candles.simulated.parquet"
    assert manifest.simulated
    assert pq.read_schema(path).metadata[b"simulated"] == b"true"


def test_the_end_of_the_stream_is_an_error_when_the_server_fails_midway(changing, change, tmp_path):
    change(changing, "ALTER TABLE candles RENAME COLUMN close TO shut")
    dataset = EXPORTABLE["candles"]
    try:
        where = next(iter(load_slices(changing, dataset)))
        with pytest.raises(ConfigError, match="close"):
            write_slice(changing, dataset, where, tmp_path / "x.parquet")
    finally:
        change(changing, "ALTER TABLE candles RENAME COLUMN shut TO close")
    assert list(tmp_path.iterdir()) == []

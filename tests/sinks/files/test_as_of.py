"""Exports of the past: corrections are undone, later rows are left out, and what cannot be told is not."""

from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from collector.errors import ConfigError
from collector.sinks.files.exporting import Request, export

NOW = datetime(2026, 3, 1, tzinfo=UTC)
EARLY = datetime(2026, 1, 31, tzinfo=UTC)
LATE = datetime(2026, 2, 20, tzinfo=UTC)
BAR = "instrument_id = 2 AND interval = '1m' AND open_time = '2026-01-30 22:00+00'"
CORRECTED = """
    INSERT INTO revisions (table_name, subject, key, source, columns, old, new, cause, detected_at)
    SELECT 'candles', 'okx:BTC-USDT:perp', jsonb_build_object('instrument', 'okx:BTC-USDT:perp', 'interval', '1m',
        'open_time', timestamptz '2026-01-30 22:00+00'), 'okx', ARRAY['close', 'volume'],
        jsonb_build_object('close', CAST(:old AS text), 'volume', CAST(:volume AS text)),
        jsonb_build_object('close', CAST(:new AS text), 'volume', '5'), 'provider', CAST(:at AS timestamptz)
"""


@pytest.fixture
def corrected(changing, change):
    """A bar that was 100.1 at first, 100.2 from the 5th of February on and 100.3 from the 10th on."""
    change(changing, f"UPDATE candles SET close = 100.3, volume = 5, received_at = '2026-02-10+00' WHERE {BAR}")
    change(changing, CORRECTED, old="100.1", new="100.2", volume=None, at="2026-02-05+00")
    change(changing, CORRECTED, old="100.2", new="100.3", volume="4", at="2026-02-10+00")
    return changing


def bar(database, folder, as_of):
    export(database, Request(datasets=["candles"], as_of=as_of), folder, now=NOW)
    table = pq.read_table(folder / "candles/venue=okx/month=2026-01/candles.parquet", partitioning=None)
    opened = datetime(2026, 1, 30, 22, tzinfo=UTC)
    rows = [
        row
        for row in table.to_pylist()
        if (row["instrument"], row["interval"], row["open_time"]) == ("okx:BTC-USDT:perp", "1m", opened)
    ]
    return table, rows


@pytest.mark.parametrize(
    ("as_of", "close", "volume"),
    [
        (EARLY, "100.1", None),
        (datetime(2026, 2, 7, tzinfo=UTC), "100.2", "4"),
        (LATE, "100.3", "5"),
    ],
)
def test_a_corrected_bar_is_given_as_it_was_known(corrected, tmp_path, as_of, close, volume):
    _, rows = bar(corrected, tmp_path, as_of)
    assert len(rows) == 1
    assert f"{rows[0]['close'].normalize():f}" == close
    assert rows[0]["volume"] is None if volume is None else f"{rows[0]['volume'].normalize():f}" == volume


def test_the_receipt_of_a_bar_that_was_corrected_later_is_empty_and_not_made_up(corrected, tmp_path):
    _, rows = bar(corrected, tmp_path, EARLY)
    assert rows[0]["received_at"] is None


def test_rows_that_were_received_later_are_left_out(corrected, tmp_path):
    table, _ = bar(corrected, tmp_path, EARLY)
    # Bars every 10 minutes from 22:00 on, received 61.5 s after they opened: 12 by midnight, of 2 series and lengths.
    assert table.num_rows == 12 * 4


def test_what_cannot_be_reconstructed_is_refused_in_one_line(filled, tmp_path):
    with pytest.raises(ConfigError, match="indicators: what was known at a past moment cannot be told: its rows"):
        export(filled, Request(datasets=["indicators"], as_of=EARLY), tmp_path / "x", now=NOW)
    assert not (tmp_path / "x").exists()

"""The same cycle twice at the same market time: everything is asked for again and nothing changes."""

from datetime import timedelta

import pytest

from collector.clock import to_millis
from tests.acceptance.conftest import simulator
from tests.acceptance.program import CLOCK, SMALL, changed

EVERY_ASSET = SMALL
for _dataset in ("asset_details", "market_history", "candles"):
    EVERY_ASSET = changed(EVERY_ASSET, ["sources", "coingecko", "datasets", _dataset, "assets"], 50)
for _venue in ("binance_futures", "okx"):
    EVERY_ASSET = changed(EVERY_ASSET, ["sources", _venue, "datasets", "candles", "intervals"], ["1h", "1d"])
CADENCES = ("market", "hourly", "daily")


def rows_written(report):
    counts = {}
    for source in report["sources"]:
        for table, count in source["rows"].items():
            counts[table] = counts.get(table, 0) + count
    return counts


@pytest.fixture(scope="module")
def twice(install):
    """A program whose market stands still, and the reports of every cadence run twice."""
    # More than a day ago: which bars of that moment are over does not depend on when the rounds run.
    moment = to_millis(CLOCK.now() - timedelta(hours=25))
    with simulator(now_ms=lambda: moment, limits=False) as frozen:
        program = install(frozen.base_urls, settings=EVERY_ASSET)
        reports = [[program.run("once", "--cadence", name, "--json").json for name in CADENCES] for _ in range(2)]
    return program, reports


def test_both_rounds_are_ok(twice):
    assert [report["state"] for round_ in twice[1] for report in round_] == ["ok"] * 6


def test_the_first_round_stores_rows_of_every_kind(twice):
    tables = set().union(*(rows_written(report) for report in twice[1][0]))
    assert tables >= {"candles", "funding_rates", "tickers", "order_books", "market_snapshots", "asset_details"}
    assert twice[1][0][0]["indicator_rows"] == rows_written(twice[1][0][0])["candles"] > 8 * 2 * 200


@pytest.mark.parametrize("place", range(3), ids=CADENCES)
def test_the_second_round_changes_no_candle_no_indicator_and_no_funding_rate(twice, place):
    report = twice[1][1][place]
    written = rows_written(report)
    assert [written.get(table, 0) for table in ("candles", "funding_rates", "funding_terms")] == [0, 0, 0]
    assert report["indicator_rows"] == 0


def test_a_chart_does_not_wipe_out_what_the_ranking_said_about_the_same_moment(twice):
    """The newest point of a chart has the time of the ranked row: one key, and the chart says less about it."""
    program, _ = twice
    newest = program.rows(
        "SELECT asset_id, rank, high_24h_usd, ath_usd FROM market_snapshots "
        "WHERE asset_id IN ('bitcoin', 'ethereum') AND observed_at = (SELECT max(observed_at) FROM market_snapshots)"
    )
    assert [row[:2] for row in sorted(newest)] == [("bitcoin", 1), ("ethereum", 2)]
    assert all(value is not None for row in newest for value in row)


@pytest.mark.parametrize("place", range(3), ids=CADENCES)
def test_the_second_round_changes_nothing_at_all(twice, place):
    written = rows_written(twice[1][1][place])
    assert {table: count for table, count in written.items() if count} == {}

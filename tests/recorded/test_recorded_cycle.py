"""Whole cycles over real input: the collector as wired for work, with recordings served in place of the providers.

The recordings are from 2021 to 2026, so the collector is started at the time of each, on one database. Values were
read by hand out of the files that `recorded_answers.py` names.
"""

import json
import os
import subprocess
import sys
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from collector import wiring
from collector.clock import SystemClock
from collector.config import ROOT, load_settings
from collector.log import set_up_logging, tear_down_logging
from collector.records import CycleReport, CycleState
from collector.sources import SOURCES
from collector.storage.database import Database
from tests.recorded.recorded_answers import NO_ROWS, RECORDINGS
from tests.recorded.recorded_server import MovedClock, RecordedProviders

FOLLOWED = (  # beside what prices match, which is nothing: no two recordings of a coin are of one day
    "binance_futures:AKRO-USDT:perp",
    "binance_futures:BTC-USDT:perp",
    "binance_futures:ETH-USDT:perp",  # listed, and not one recording
    "binance_futures:SUSHI-USDT:perp",
    "binance_futures:THETA-USDT:perp",
    "okx:BTC-USDT:perp",
    "okx:ETH-USDT:perp",  # listed, and not one recording
)
VISITS = (
    (datetime(2021, 5, 15, 16, 2, tzinfo=UTC), ("market", "hourly")),  # CoinGecko
    (datetime(2021, 7, 22, 22, 26, tzinfo=UTC), ("market", "market")),  # Binance: contracts and books, asked for twice
    (datetime(2023, 1, 6, 9, 0, 10, tzinfo=UTC), ("market",)),  # Binance: hours; OKX: swaps, as listed in 2022
    (datetime(2024, 6, 17, 22, 0, 10, tzinfo=UTC), ("market",)),  # OKX: hours
    (datetime(2025, 5, 12, 23, 55, 10, tzinfo=UTC), ("market", "daily")),  # OKX: minutes, marks, funding, swaps anew
    (datetime(2026, 7, 6, 3, 16, 40, tzinfo=UTC), ("market", "hourly")),  # Binance, OKX: open interest
    (datetime(2026, 9, 4, 0, 30, tzinfo=UTC), ("hourly",)),  # OKX: settled funding
)
NOT_RECORDED = {  # source -> what its failed jobs say
    "coingecko": "coin not found",
    "binance_futures": "code -1121: Invalid symbol.",
    "okx": "code 51001: Instrument ID, Instrument ID code, or Spread ID doesn't exist.",
}
TABLES = (
    *("assets", "asset_details", "market_snapshots", "global_snapshots", "instruments", "tickers", "mark_prices"),
    *("funding_forecasts", "funding_rates", "funding_terms", "open_interest", "order_books", "candles"),
)


def _environment(url: str, addresses: dict[str, str], logs: Path) -> dict[str, str]:
    return {
        "COLLECTOR_DATABASE__URL": url,
        "COLLECTOR_LOGS__DIRECTORY": str(logs),
        "COLLECTOR_LOGS__LEVEL": "DEBUG",
        "COLLECTOR_HTTP__HEALING_PCT": "0",  # an answer played again later would show a bar as over that was not
        "COLLECTOR_UNIVERSE__INCLUDE": "bitcoin",
        "COLLECTOR_UNIVERSE__INCLUDE_INSTRUMENTS": ", ".join(FOLLOWED),
        "COLLECTOR_INDICATORS__INTERVALS": "1m, 1h, 4h, 1d",
        "COLLECTOR_SOURCES__BINANCE_FUTURES__DATASETS__ORDER_BOOKS__LEVELS": "1000",
        "COLLECTOR_SOURCES__BINANCE_FUTURES__DATASETS__CANDLES__INTERVALS": "1h, 1d",
        "COLLECTOR_SOURCES__BINANCE_FUTURES__DATASETS__CANDLES__HISTORY": "4",
        "COLLECTOR_SOURCES__BINANCE_FUTURES__DATASETS__FUNDING__LOOKBACK": "30d",
        "COLLECTOR_SOURCES__OKX__DATASETS__CANDLES__INTERVALS": "1m, 1h",
        "COLLECTOR_SOURCES__OKX__DATASETS__CANDLES__HISTORY": "4",
        **{f"COLLECTOR_SOURCES__{name.upper()}__BASE_URL": address for name, address in addresses.items()},
        **{f"COLLECTOR_SOURCES__{name.upper()}__ENABLED": "false" for name in SOURCES if name not in addresses},
    }


@dataclass
class Collected:
    """What all visits together left behind."""

    database: Database
    reports: list[CycleReport]
    providers: RecordedProviders
    logs: Path

    def rows(self, query: str) -> list[tuple]:
        with self.database.reading() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def row(self, query: str) -> tuple:
        (found,) = self.rows(query)
        return found

    def events(self, event: str) -> list[str]:
        """Return the lines of an event in the log files of all cycles."""
        lines = [line for file in self.logs.glob("cycle_*/*.log") for line in file.read_text().splitlines()]
        return [line for line in lines if f" {event} " in line]


@pytest.fixture(scope="module")
def collected(cluster, recorded, tmp_path_factory):
    recorded(RECORDINGS[0].file)  # skips where there are no recordings
    url, logs = cluster.create_database(), tmp_path_factory.mktemp("logs")
    clock, reports = MovedClock(), []
    with RecordedProviders(recorded, clock) as providers, pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "SystemClock", clock.another)
        patch.setenv("NO_PROXY", "127.0.0.1")
        settings, _ = load_settings(environment=_environment(url, providers.addresses, logs))
        set_up_logging(settings.logs, console=None)
        try:
            for moment, cadences in VISITS:
                clock.set(moment)
                with wiring.open_collecting(settings, lambda _: None) as collecting:
                    reports += [collecting.runner.run(cadence) for cadence in cadences]
        finally:
            tear_down_logging()
        database = Database(url, clock=clock)
        yield Collected(database, reports, providers, logs)
        database.close()
    cluster.drop(url)


def utc(*numbers: int) -> datetime:
    return datetime(*numbers, tzinfo=UTC)


# --------------------------------------------------------------------------- the cycles


def test_every_cycle_ends_and_says_that_something_is_missing(collected):
    ran = [cadence for _, cadences in VISITS for cadence in cadences]
    assert [report.cadence for report in collected.reports] == ran
    assert {report.state for report in collected.reports} == {CycleState.PARTIAL}
    states = collected.rows("SELECT cadence, state FROM cycles ORDER BY cycle_id")
    assert states == [(cadence, "partial") for cadence in ran]


def test_every_recording_was_asked_for_by_the_collector(collected):
    assert {item.file for item in RECORDINGS} <= {file for _, file in collected.providers.served}


def test_only_what_was_never_recorded_fails_and_as_a_request_that_was_refused(collected):
    failed = collected.rows("SELECT source, error FROM jobs WHERE state <> 'ok'")
    assert {source for source, _ in failed} == set(NOT_RECORDED)
    assert [item for item in failed if NOT_RECORDED[item[0]] not in item[1]] == []
    refused = collected.events("call_refused")
    assert len(refused) == len(failed)
    assert all("kind=RequestRejected" in line for line in refused)


def test_an_instrument_without_recordings_costs_only_itself(collected):
    at = "started_at BETWEEN '2021-07-22' AND '2021-07-23'"
    books = collected.rows(
        f"SELECT DISTINCT subject, state FROM jobs WHERE dataset = 'order_books' AND {at} ORDER BY 1"
    )
    assert books == [
        ("binance_futures:AKRO-USDT:perp", "ok"),
        ("binance_futures:BTC-USDT:perp", "failed"),
        ("binance_futures:ETH-USDT:perp", "failed"),
        ("binance_futures:SUSHI-USDT:perp", "ok"),
        ("binance_futures:THETA-USDT:perp", "failed"),
    ]


def test_no_defect_and_nothing_that_was_not_understood(collected):
    assert collected.events("source_defect") == []
    assert collected.events("payload_not_understood") == []
    assert [path for path in collected.logs.glob("cycle_*/failures/*")] == []  # noqa: C416 - shown when it fails
    lines = [line for file in collected.logs.rglob("*.log") for line in file.read_text().splitlines()]
    assert [line for line in lines if " ERROR " in line or "Traceback" in line] == []


def test_the_only_rejects_are_the_rates_of_five_other_contracts(collected):
    rejects = collected.rows("SELECT source, dataset, reason, detail FROM rejects ORDER BY job_id, seq")
    others = ("TAGUSDT", "TAIKOUSDT", "TAKEUSDT", "TAOUSDT", "TAUSDT")
    once = [("binance_futures", "funding", "wrong_subject", f"asked for THETAUSDT, got {name}") for name in others]
    assert rejects == once * 2  # in both hourly cycles of 2026


def test_the_same_cycle_once_more_changes_nothing(collected):
    first, second = (report for report in collected.reports if report.started_at.date() == utc(2021, 7, 22).date())
    stored = {source.source: source for source in first.sources}["binance_futures"].rows
    assert (stored["instruments"], stored["order_books"]) == (122, 2)
    again = {source.source: source for source in second.sources}
    assert again["binance_futures"].rows == {}
    assert again["binance_futures"].unchanged == 2  # the two books
    assert again["coingecko"].rows == {}


def test_every_table_that_the_recordings_can_feed_holds_rows_of_every_source_that_can(collected):
    found = {
        (table, source)
        for table in TABLES
        for (source,) in collected.rows(f"SELECT DISTINCT source FROM {table} WHERE source IS NOT NULL")
    }
    coingecko = {"assets", "asset_details", "market_snapshots", "global_snapshots", "candles"}
    binance = {"instruments", "tickers", "mark_prices", "funding_forecasts", "funding_rates"}
    binance |= {"open_interest", "order_books", "candles"}
    okx = {"instruments", "mark_prices", "funding_forecasts", "funding_rates", "funding_terms"}
    okx |= {"open_interest", "candles"}
    assert found == (
        {(table, "coingecko") for table in coingecko}
        | {(table, "binance_futures") for table in binance}
        | {(table, "okx") for table in okx}
    )


def test_the_raw_answers_kept_are_the_recorded_bytes(collected, recorded):
    bodies = {recorded(item.file) for item in RECORDINGS} | set(NO_ROWS.values())
    kept = {zlib.decompress(body) for (body,) in collected.rows("SELECT body FROM raw_payloads")}
    assert kept == bodies


# --------------------------------------------------------------------------- CoinGecko


def test_the_listing_of_2021_is_stored_whole_with_bitcoin_followed(collected):
    assert collected.row("SELECT count(*), count(*) FILTER (WHERE delisted_at IS NULL) FROM assets") == (7248, 7248)
    assert collected.rows("SELECT asset_id, symbol, name FROM assets WHERE followed") == [("bitcoin", "BTC", "Bitcoin")]


def test_bitcoins_market_rows_are_those_of_the_recordings(collected):
    query = (
        "SELECT observed_at, price_usd, market_cap_usd, rank, change_24h_pct, ath_at FROM market_snapshots "
        "WHERE rank IS NOT NULL ORDER BY observed_at"
    )
    assert collected.rows(query) == [
        (
            utc(2021, 5, 15, 15, 59, 43, 867000),
            49053,
            917825524991,
            1,
            Decimal("-4.37931"),
            utc(2021, 4, 14, 11, 54, 46, 763000),
        ),
        (
            utc(2024, 4, 7, 16, 49, 31, 736000),
            70187,
            1381651251183,
            1,
            Decimal("3.12502"),
            utc(2024, 3, 14, 7, 10, 36, 635000),
        ),
    ]


def test_a_month_of_market_history_starts_where_it_was_asked_for(collected):
    # 722 points; the first, of 15:04:13, lies before 16:02:00 thirty days back.
    count, first = collected.row("SELECT count(*), min(observed_at) FROM market_snapshots WHERE rank IS NULL")
    assert (count, first) == (721, utc(2021, 4, 15, 16, 34, 51, 663000))
    assert collected.row(
        "SELECT price_usd, market_cap_usd, volume_24h_usd FROM market_snapshots "
        "WHERE observed_at = '2021-05-15 14:13:29+00'"
    ) == (Decimal("49424.27756187507"), Decimal("923497456368.4683"), Decimal("60004857729.241455"))


def test_the_global_market_of_2021_and_2025(collected):
    query = (
        "SELECT observed_at, market_cap_usd, btc_dominance_pct, active_assets, markets FROM global_snapshots ORDER BY 1"
    )
    first, second = collected.rows(query)
    assert first == (
        utc(2021, 5, 18, 13, 55, 59),
        Decimal("2142953338976.9612"),
        Decimal("38.259132842486686"),
        7362,
        616,
    )
    assert second == (
        utc(2025, 4, 7, 11, 28, 53),
        Decimal("2515268352188.766"),
        Decimal("60.70858347681936"),
        17111,
        1297,
    )


def test_the_index_candle_that_was_not_over_is_not_stored(collected):
    stored = collected.rows(
        "SELECT c.open_time, c.open, c.high, c.low, c.close, c.volume FROM candles c JOIN instruments i "
        "USING (instrument_id) WHERE i.instrument = 'coingecko:bitcoin-USD:index' ORDER BY 1"
    )
    assert len(stored) == 41  # of 42; the last was to end at 16:00, twenty minutes before it counts as settled
    assert stored[0][0] == utc(2021, 5, 8, 16)
    assert stored[-1] == (
        utc(2021, 5, 15, 8),
        Decimal("48810.93"),
        Decimal("49065.53"),
        Decimal("48572.17"),
        Decimal("48574.71"),
        None,
    )


def test_indicators_are_computed_from_the_recorded_candles(collected):
    rows = collected.rows(
        "SELECT open_time, sma_20, rsi_14, sma_50 FROM indicators WHERE interval = '4h' ORDER BY open_time"
    )
    assert len(rows) == 41
    assert [row[1] for row in rows[:19]] == [None] * 19  # no value before twenty bars
    opened, sma_20, rsi_14, sma_50 = rows[-1]
    assert opened == utc(2021, 5, 15, 8)
    assert sma_20 == pytest.approx(51194.2945, abs=1e-6)  # the last twenty closes, added up and divided by hand
    assert 0 < rsi_14 < 50  # the week fell from 59 122 to 48 575
    assert sma_50 is None


def test_bitcoins_details_are_those_of_2021(collected):
    assert collected.row(
        "SELECT asset_id, categories, genesis_date, hashing_algorithm, homepage, country_origin FROM asset_details"
    ) == ("bitcoin", ["Cryptocurrency"], "2009-01-03", "SHA-256", "http://www.bitcoin.org", None)


# --------------------------------------------------------------------------- Binance futures


def test_the_contracts_of_2021_are_all_listed(collected):
    count, tradable = collected.row(
        "SELECT count(*), count(*) FILTER (WHERE tradable) FROM instruments WHERE source = 'binance_futures'"
    )
    assert (count, tradable) == (122, 121)
    assert collected.row(
        "SELECT tick_size, lot_size, listed_at, match_state FROM instruments "
        "WHERE instrument = 'binance_futures:THETA-USDT:perp'"
    ) == (Decimal("0.0010"), Decimal("0.1"), utc(2019, 9, 25, 8), "unmatched")


def test_both_recorded_books_are_stored_whole_with_their_spread(collected):
    books = collected.rows(
        "SELECT i.venue_symbol, b.observed_at, b.last_update_id, cardinality(bid_prices), cardinality(ask_prices), "
        "best_bid, best_ask, bid_sizes[1], spread_bps FROM order_books b JOIN instruments i USING (instrument_id) "
        "ORDER BY 1"
    )
    akro, sushi = books
    assert akro[:3] == ("AKROUSDT", utc(2021, 7, 22, 22, 25, 41, 238000), 600859605486)
    assert akro[3:8] == (609, 763, Decimal("0.01731"), Decimal("0.01732"), 57618)
    assert akro[8] == pytest.approx(5.775339, abs=1e-6)  # 0.00001 / 0.017315
    assert sushi[:3] == ("SUSHIUSDT", utc(2021, 7, 22, 22, 25, 41, 261000), 600859605926)
    assert sushi[3:8] == (1000, 1000, Decimal("7.6110"), Decimal("7.6120"), 6)
    assert sushi[8] == pytest.approx(1.313801, abs=1e-6)  # 0.001 / 7.6115


def test_the_four_hours_of_2023_are_stored_and_the_day_that_ran_in_2026_is_not(collected):
    candles = collected.rows(
        "SELECT c.interval, c.open_time, c.open, c.close, c.volume, c.trades, c.taker_buy_volume FROM candles c "
        "WHERE source = 'binance_futures' ORDER BY open_time"
    )
    assert [(row[0], row[1].hour) for row in candles] == [("1h", 5), ("1h", 6), ("1h", 7), ("1h", 8)]
    assert candles[0][1:] == (
        utc(2023, 1, 6, 5),
        Decimal("16823.24"),
        Decimal("16810.18"),
        Decimal("6230.44034"),
        162086,
        Decimal("3058.60695"),
    )
    served = [file for _, file in collected.providers.served]
    assert "binance/live2026_fapi_klines_BTCUSDT_1d_1row.json" in served


def test_the_live_numbers_of_binance_in_2026(collected):
    source = "source = 'binance_futures'"
    assert collected.row(f"SELECT mark_price, index_price, observed_at FROM mark_prices WHERE {source}") == (
        Decimal("63392.81973913"),
        Decimal("63415.27130435"),
        utc(2026, 7, 6, 3, 16, 28, 7000),
    )
    assert collected.row(f"SELECT rate, funding_time FROM funding_forecasts WHERE {source}") == (
        Decimal("0.00009007"),
        utc(2026, 7, 6, 8),
    )
    assert collected.row(f"SELECT last_price, volume_24h, change_24h_pct FROM tickers WHERE {source}") == (
        Decimal("63385.10"),
        Decimal("98084.543"),
        Decimal("1.023"),
    )
    assert collected.row(f"SELECT open_interest, contracts FROM open_interest WHERE {source}") == (
        Decimal("104935.279"),
        None,
    )
    assert collected.row(f"SELECT rate, mark_price, funding_time FROM funding_rates WHERE {source}") == (
        Decimal("-0.00001507"),
        Decimal("0.15005000"),
        utc(2026, 6, 10, 8, 0, 0, 11000),
    )


# --------------------------------------------------------------------------- OKX


def test_the_swaps_of_2022_are_listed_and_what_the_list_of_2025_lacks_is_gone(collected):
    query = "SELECT count(*), count(*) FILTER (WHERE gone_at IS NULL) FROM instruments WHERE source = 'okx'"
    assert collected.row(query) == (166, 3)
    assert collected.rows(
        "SELECT instrument, contract_size, lot_size, category, tradable FROM instruments "
        "WHERE source = 'okx' AND gone_at IS NULL ORDER BY 1"
    ) == [
        ("okx:BTC-USD:perp", Decimal(100), None, "inverse", False),
        ("okx:BTC-USDT:perp", Decimal("0.01"), Decimal("0.0001"), "", True),
        ("okx:ETH-USDT:perp", Decimal("0.1"), Decimal("0.001"), "", True),
    ]
    assert collected.row("SELECT contract_size FROM instruments WHERE instrument = 'okx:SHIB-USDT:perp'") == (1000000,)


def test_the_hours_of_2024_and_the_minutes_of_2025_are_in_base_units(collected):
    candles = collected.rows(
        "SELECT interval, open_time, open, high, low, close, volume, quote_volume FROM candles "
        "WHERE source = 'okx' ORDER BY open_time"
    )
    assert [(row[0], row[1].hour, row[1].minute) for row in candles] == [
        *(("1h", hour, 0) for hour in (18, 19, 20, 21)),
        *(("1m", 23, minute) for minute in (53, 54)),
    ]
    prices = (Decimal(66602), Decimal(67320), Decimal("66543.3"), Decimal(67087))
    volumes = (Decimal("13459.959"), Decimal("900743428.1363"))  # of 1345995.9 contracts of 0.01
    assert candles[0] == ("1h", utc(2024, 6, 17, 18), *prices, *volumes)
    assert candles[4][5:7] == (Decimal("102806.1"), Decimal("71.6404"))


def test_the_marks_funding_and_open_interest_of_okx(collected):
    source = "source = 'okx'"
    assert collected.row(f"SELECT mark_price, index_price, observed_at FROM mark_prices WHERE {source}") == (
        Decimal("84660.1"),
        None,
        utc(2025, 4, 14, 0, 25, 49, 506000),
    )
    assert collected.row(f"SELECT rate, funding_time, observed_at FROM funding_forecasts WHERE {source}") == (
        Decimal("0.0000182221218054"),
        utc(2025, 4, 2, 16),
        utc(2025, 4, 2, 10, 11, 26, 291000),
    )
    assert collected.row(f"SELECT interval_hours, rate_cap, rate_floor FROM funding_terms WHERE {source}") == (
        8,
        Decimal("0.00375"),
        Decimal("-0.00375"),
    )
    assert collected.row(f"SELECT open_interest, contracts, value_usd FROM open_interest WHERE {source}") == (
        Decimal("963996.95809999716"),
        Decimal("96399695.809999716"),
        Decimal("88957542893.771927925084"),
    )
    assert collected.row(f"SELECT rate, funding_time FROM funding_rates WHERE {source}") == (
        Decimal("0.0000418741079605"),
        utc(2026, 9, 4),
    )


# --------------------------------------------------------------------------- the command


def test_the_command_runs_one_cycle_on_recordings_and_exits_with_not_all_well(
    cluster, database_url, recorded, tmp_path
):
    recorded(RECORDINGS[0].file)
    with RecordedProviders(recorded, SystemClock()) as providers:
        ran = subprocess.run(
            [sys.executable, str(ROOT / "main.py"), "once", "--cadence", "market", "--json"],
            env={**os.environ, "NO_PROXY": "127.0.0.1", **_environment(database_url, providers.addresses, tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ran.returncode == 1, ran.stderr
    assert "Traceback" not in ran.stderr
    report = json.loads(ran.stdout)
    assert report["state"] == "partial"
    rows = {part["source"]: part["rows"] for part in report["sources"]}
    assert (rows["coingecko"]["assets"], rows["coingecko"]["market_snapshots"]) == (7248, 1)
    assert (rows["binance_futures"]["instruments"], rows["binance_futures"]["order_books"]) == (122, 2)
    assert (rows["okx"]["instruments"], rows["okx"]["mark_prices"], rows["okx"]["open_interest"]) == (3, 1, 1)

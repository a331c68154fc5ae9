"""CoinGecko's parsers over answers recorded from 2021 to 2026; values checked by reading the recordings."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from collector.clock import from_millis
from collector.errors import AccessDenied, PayloadError, RateLimited, RequestRejected, VenueUnreachable
from collector.records import Answer, Dataset, Job, Payload, Reject
from collector.sources.coingecko import CoingeckoCollector

BITCOIN, ETHEREUM = ("bitcoin",), ("ethereum",)
# Whole answers of every dataset, with the coin that was asked for.
ANSWERS = [
    (Dataset.LISTING, "rec2021_coins_list", (), 7248),
    (Dataset.LISTING, "net2024_coins_list_with_platforms", (), 2),
    (Dataset.MARKETS, "rec2021_coins_markets_btc", (), 1),
    (Dataset.MARKETS, "net2024_coins_markets_btc", (), 1),
    (Dataset.MARKETS, "oas2026_coins_markets", (), 1),
    (Dataset.GLOBAL, "rec2021_global", (), 1),
    (Dataset.GLOBAL, "net2025_global", (), 1),
    (Dataset.GLOBAL, "oas2026_global", (), 1),
    (Dataset.ASSET_DETAILS, "rec2021_coins_id_bitcoin_full", BITCOIN, 1),
    (Dataset.ASSET_DETAILS, "oas2026_coins_id", BITCOIN, 1),
    (Dataset.MARKET_HISTORY, "rec2021_market_chart_btc_1d_5min", BITCOIN, 288),
    (Dataset.MARKET_HISTORY, "rec2021_market_chart_btc_30d_hourly", BITCOIN, 722),
    (Dataset.MARKET_HISTORY, "net2024_market_chart_range_3rows", BITCOIN, 3),
    (Dataset.MARKET_HISTORY, "oas2026_market_chart", BITCOIN, 2),
    (Dataset.CANDLES, "rec2021_ohlc_btc_7d", BITCOIN, 42),
    (Dataset.CANDLES, "net2024_ohlc_3rows", ETHEREUM, 3),
]
RECORDED_AT = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def body(recorded):
    return lambda name: recorded("coingecko", f"{name}.json")


def parse(dataset, content, assets=(), received_at=RECORDED_AT):
    job = Job(source="coingecko", dataset=dataset, assets=assets)
    return CoingeckoCollector.parsers[dataset](Payload(job=job, status=200, body=content, received_at=received_at))


@pytest.mark.parametrize(("dataset", "name", "assets", "count"), ANSWERS, ids=[answer[1] for answer in ANSWERS])
def test_every_recorded_answer_is_understood_without_a_reject(body, dataset, name, assets, count):
    content = body(name)
    CoingeckoCollector.check(Answer(status=200, headers={}, body=content, received_at=RECORDED_AT))
    records = parse(dataset, content, assets)
    assert len(records) == count
    assert not [record for record in records if isinstance(record, Reject)]
    assert len({record.key for record in records}) == count


def test_the_listing_of_2021_starts_and_ends_as_recorded(body):
    records = parse(Dataset.LISTING, body("rec2021_coins_list"))
    assert (records[0].asset_id, records[0].symbol, records[0].name) == ("01coin", "ZOC", "01coin")
    assert (records[-1].asset_id, records[-1].symbol) == ("zzz-finance-v2", "ZZZV2")
    assert [record.asset_id for record in records if record.symbol == "BTC"] == ["bitcoin"]


def test_bitcoins_market_row_of_2021_had_no_windows(body):
    (row,) = parse(Dataset.MARKETS, body("rec2021_coins_markets_btc"))
    assert (row.asset_id, row.rank, row.price_usd) == ("bitcoin", 1, Decimal(49053))
    assert (row.market_cap_usd, row.fully_diluted_usd) == (Decimal(917825524991), Decimal(1030116515125))
    assert (row.volume_24h_usd, row.high_24h_usd, row.low_24h_usd) == (Decimal(61679663434), 51300, 48019)
    assert (row.change_1h_pct, row.change_24h_pct, row.change_7d_pct) == (None, Decimal("-4.37931"), None)
    assert (row.circulating_supply, row.max_supply) == (Decimal(18710831), Decimal(21000000))
    assert (row.ath_usd, row.ath_at) == (64805, datetime(2021, 4, 14, 11, 54, 46, 763000, tzinfo=UTC))
    assert (row.atl_usd, row.atl_at) == (Decimal("67.81"), datetime(2013, 7, 6, tzinfo=UTC))
    assert row.observed_at == datetime(2021, 5, 15, 15, 59, 43, 867000, tzinfo=UTC)


def test_bitcoins_market_row_of_2026_has_all_windows(body):
    (row,) = parse(Dataset.MARKETS, body("oas2026_coins_markets"))
    assert row.price_usd == 77671
    assert row.change_1h_pct == Decimal("0.5823392426906319")
    assert row.change_24h_pct == Decimal("-0.9530164743774191")
    assert row.change_7d_pct == Decimal("-4.042267423689584")
    assert row.observed_at == datetime(2026, 5, 18, 12, 49, 21, 599000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "observed_at", "numbers", "counts"),
    [
        (
            "rec2021_global",
            datetime(2021, 5, 18, 13, 55, 59, tzinfo=UTC),
            "2142953338976.9612 290548797852.028 38.259132842486686 18.555868478228195 -0.9554088490358789",
            (7362, 616),
        ),
        (
            "net2025_global",
            datetime(2025, 4, 7, 11, 28, 53, tzinfo=UTC),
            "2515268352188.766 198293501804.3288 60.70858347681936 7.155942749893206 -9.999293796813587",
            (17111, 1297),
        ),
        (
            "oas2026_global",
            datetime(2026, 5, 27, 10, 39, 11, tzinfo=UTC),
            "2621040321355.0405 95133256404.37308 57.9539332566265 9.58227145398409 -1.6081983639177684",
            (17397, 1476),
        ),
    ],
)
def test_global_figures_keep_all_their_digits(body, name, observed_at, numbers, counts):
    (row,) = parse(Dataset.GLOBAL, body(name))
    cap, volume, btc, eth, change = (Decimal(number) for number in numbers.split())
    assert row.observed_at == observed_at
    assert (row.market_cap_usd, row.volume_24h_usd) == (cap, volume)
    assert (row.btc_dominance_pct, row.eth_dominance_pct) == (btc, eth)
    assert row.market_cap_change_24h_pct == change
    assert (row.active_assets, row.markets) == counts


def test_details_of_2021_and_of_today_give_the_same_facts(body):
    (old,) = parse(Dataset.ASSET_DETAILS, body("rec2021_coins_id_bitcoin_full"), BITCOIN)
    (new,) = parse(Dataset.ASSET_DETAILS, body("oas2026_coins_id"), BITCOIN)
    for details in (old, new):
        assert (details.asset_id, details.symbol, details.name) == ("bitcoin", "BTC", "Bitcoin")
        assert (details.genesis_date, details.hashing_algorithm) == ("2009-01-03", "SHA-256")
        assert (details.platforms, details.homepage) == ({}, "http://www.bitcoin.org")
    assert old.categories == ("Cryptocurrency",)
    assert new.categories == ("Cryptocurrency", "Layer 1 (L1)")
    assert old.observed_at == datetime(2021, 5, 15, 15, 58, 12, 266000, tzinfo=UTC)


def test_the_five_minute_chart_whose_last_point_steps_back_comes_out_in_order(body):
    records = parse(Dataset.MARKET_HISTORY, body("rec2021_market_chart_btc_1d_5min"), BITCOIN)
    times = [record.observed_at for record in records]
    assert times == sorted(times)
    assert times[-2:] == [from_millis(1621089594000), from_millis(1621089594955)]
    assert records[-1].price_usd == records[-2].price_usd == Decimal("49078.83040364477")
    assert records[0].price_usd == Decimal("50675.258073370765")


def test_the_hourly_chart_joins_price_cap_and_volume(body):
    first = parse(Dataset.MARKET_HISTORY, body("rec2021_market_chart_btc_30d_hourly"), BITCOIN)[0]
    assert first.observed_at == datetime(2021, 4, 15, 15, 4, 13, 863000, tzinfo=UTC)
    assert first.price_usd == Decimal("62641.967327043465")
    assert first.market_cap_usd == Decimal("1172109995119.8372")
    assert first.volume_24h_usd == Decimal("65940825884.2999")


def test_the_last_candle_of_an_answer_is_unfinished_and_the_others_are_closed(body):
    recorded_at = datetime(2021, 5, 15, 15, 34, 27, tzinfo=UTC)
    candles = parse(Dataset.CANDLES, body("rec2021_ohlc_btc_7d"), BITCOIN, recorded_at)
    assert [candle.closed for candle in candles] == [True] * 41 + [False]
    first, last = candles[0], candles[-1]
    assert first.open_time == datetime(2021, 5, 8, 16, tzinfo=UTC)
    assert first.observed_at == datetime(2021, 5, 8, 20, tzinfo=UTC)
    assert (first.open, first.high, first.low, first.close) == (
        Decimal("57945.79"),
        Decimal("59122.18"),
        Decimal("57945.79"),
        Decimal("59122.18"),
    )
    assert (last.open_time, last.close) == (datetime(2021, 5, 15, 12, tzinfo=UTC), Decimal("49675.91"))
    assert {b.open_time - a.open_time for a, b in pairwise(candles)} == {timedelta(hours=4)}


def test_the_documented_half_hour_candles_are_not_taken_for_four_hours(body):
    with pytest.raises(PayloadError, match=r"\$\[0\]\[0\]: expected candles of 4h"):
        parse(Dataset.CANDLES, body("oas2026_ohlc"), BITCOIN)


@pytest.mark.parametrize(
    ("name", "status", "kind", "code", "text"),
    [
        ("rec2021_error_422_missing_days", 422, RequestRejected, "", "HTTP 422: Missing parameter days"),
        ("rec2021_error_422_missing_ids", 422, RequestRejected, "", "HTTP 422: Missing parameter ids"),
        ("rec2021_error_422_missing_vs_currency", 422, RequestRejected, "", "HTTP 422: Missing parameter vs_currency"),
        ("rec2021_error_500_ohlc_without_params", 500, VenueUnreachable, "500", "Internal Server Error"),
        ("rec2022_error_429", 429, RateLimited, "429", "You've exceeded the Rate Limit."),
        ("rec2024_error_401_10012_nested", 401, RequestRejected, "10012", "exceeds the allowed time range"),
        ("rec2025_error_400_10011_wrong_root", 400, AccessDenied, "10011", "please change your root URL"),
    ],
)
def test_recorded_refusals_become_our_errors(body, name, status, kind, code, text):
    received_at = datetime(2022, 9, 29, 12, tzinfo=UTC)
    answer = Answer(status=status, headers={"retry-after": "119"}, body=body(name), received_at=received_at)
    with pytest.raises(kind) as caught:
        CoingeckoCollector.check(answer)
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.status) == (code, status)
    assert text in str(caught.value)
    if kind is RateLimited:
        assert caught.value.retry_at == received_at + timedelta(seconds=119)

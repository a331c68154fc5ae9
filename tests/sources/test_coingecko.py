"""CoinGecko: payloads in the documented shapes become records; errors become ours; calls are what the API expects."""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from pycoingecko import CoinGeckoAPI
from requests.adapters import BaseAdapter

from collector.clock import ManualClock
from collector.errors import AccessDenied, PayloadError, RateLimited, RequestRejected, VenueError, VenueUnreachable
from collector.records import (
    Answer,
    AssetDetails,
    Candle,
    Dataset,
    GlobalMarket,
    Instrument,
    Interval,
    Job,
    Kind,
    MarketSnapshot,
    Payload,
    Reject,
    RejectReason,
)
from collector.sources.base import Cost, Limit
from collector.sources.coingecko import CoingeckoCollector

PAYLOADS = Path(__file__).parent.parent / "payloads" / "coingecko"
RECEIVED = datetime(2026, 1, 31, 15, 34, tzinfo=UTC)
SUBJECTS = {Dataset.ASSET_DETAILS, Dataset.MARKET_HISTORY, Dataset.CANDLES}


def at(hour, minute=0, second=0, micro=0):
    return datetime(2026, 1, 31, hour, minute, second, micro, tzinfo=UTC)


def job_for(dataset, **facts):
    assets = ("ember-coin",) if dataset in SUBJECTS else ()
    return Job(source="coingecko", dataset=dataset, **{"assets": assets, **facts})


def parse_body(dataset, body, received_at=RECEIVED, **facts):
    source = Payload(job=job_for(dataset, **facts), status=200, body=body, received_at=received_at)
    return list(CoingeckoCollector.parsers[dataset](source))


def parse(dataset, situation, **facts):
    return parse_body(dataset, (PAYLOADS / f"{dataset}__{situation}.json").read_bytes(), **facts)


# --------------------------------------------------------------------------- listing


def test_listing_gives_each_asset_with_its_symbol_in_upper_case_and_the_time_of_receipt():
    ember, pegged, hive = parse(Dataset.LISTING, "normal")
    assert (ember.asset_id, ember.symbol, ember.name) == ("ember-coin", "EMB", "Ember Coin")
    assert (pegged.asset_id, pegged.symbol) == ("ember-pegged", "EMB")
    assert (hive.asset_id, hive.symbol) == ("hive_dollar", "HBD")
    assert ember.observed_at == ember.received_at == RECEIVED
    assert ember.key == ("coingecko", "ember-coin")


def test_listing_row_without_an_id_is_rejected_and_the_others_stay():
    ember, nameless, reject = parse(Dataset.LISTING, "null_row")
    assert ember.asset_id == "ember-coin"
    assert nameless.name == "nameless"  # a coin without a name goes by its id
    assert isinstance(reject, Reject)
    assert reject.reason is RejectReason.WRONG_SUBJECT


# --------------------------------------------------------------------------- markets


def test_market_row_has_every_number_exactly_as_the_answer_spells_it():
    ember, _ = parse(Dataset.MARKETS, "normal")
    assert ember == MarketSnapshot(
        source="coingecko",
        observed_at=at(15, 29, 43, 867000),
        received_at=RECEIVED,
        asset_id="ember-coin",
        price_usd=Decimal("61234.50000001"),
        market_cap_usd=Decimal(1_200_000_000_000),
        fully_diluted_usd=Decimal(1_286_000_000_000),
        rank=1,
        volume_24h_usd=Decimal("31000000000.25"),
        high_24h_usd=Decimal(62000),
        low_24h_usd=Decimal("60111.5"),
        change_1h_pct=Decimal("0.582339242690"),
        change_24h_pct=Decimal("-0.971234567"),
        change_7d_pct=Decimal("-4.25"),
        circulating_supply=Decimal(19_600_000),
        total_supply=Decimal(19_600_000),
        max_supply=Decimal(21_000_000),
        ath_usd=Decimal(70000),
        ath_at=datetime(2025, 10, 6, 18, 57, 42, 558000, tzinfo=UTC),
        atl_usd=Decimal("0.05"),
        atl_at=datetime(2013, 7, 6, tzinfo=UTC),
    )


def test_exponent_numbers_are_exact_decimals_and_nulls_stay_none():
    _, dust = parse(Dataset.MARKETS, "normal")
    assert dust.price_usd == Decimal("0.000000904")
    assert dust.low_24h_usd == Decimal("0.0000009")
    assert dust.observed_at == at(15, 29)  # 17:29 at +02:00
    assert (dust.fully_diluted_usd, dust.total_supply, dust.ath_usd, dust.ath_at) == (None, None, None, None)
    assert dust.change_1h_pct is None
    assert dust.change_24h_pct == Decimal("1.5")  # the windowed field is null, the plain one is not


def test_zero_volume_and_zero_change_are_values_while_zero_cap_without_rank_is_unknown():
    quiet, ranked = parse(Dataset.MARKETS, "zero")
    assert quiet.market_cap_usd is None
    assert quiet.volume_24h_usd == 0
    assert quiet.volume_24h_usd is not None
    assert quiet.circulating_supply == 0
    assert quiet.change_24h_pct == 0
    assert ranked.market_cap_usd == 0
    assert ranked.price_usd == 0
    assert ranked.change_24h_pct == 0  # the windowed zero counts, not the plain five


def test_rows_that_say_nothing_are_rejected_with_the_reason_and_an_unpriced_row_stays():
    unpriced, alive, ghost, nobody, silent = parse(Dataset.MARKETS, "null_row")
    assert (unpriced.asset_id, unpriced.price_usd, unpriced.volume_24h_usd) == ("unpriced", None, Decimal(3))
    assert (alive.asset_id, alive.price_usd) == ("alive", Decimal(2))
    assert [ghost.reason, nobody.reason, silent.reason] == [
        RejectReason.NO_TIME,
        RejectReason.WRONG_SUBJECT,
        RejectReason.NO_PRICE,
    ]
    assert "ghost" in ghost.row


def test_a_coin_that_appears_twice_on_a_page_counts_once_with_its_newest_row():
    ember, dust = parse(Dataset.MARKETS, "moved_rank")
    assert (ember.asset_id, ember.price_usd, ember.rank) == ("ember-coin", Decimal(10), 4)
    assert dust.asset_id == "dust"


# --------------------------------------------------------------------------- global


def test_global_market_is_read_in_dollars_with_dominance_in_percent():
    assert parse(Dataset.GLOBAL, "normal") == [
        GlobalMarket(
            source="coingecko",
            observed_at=at(15, 30),
            received_at=RECEIVED,
            market_cap_usd=Decimal(2_700_000_000_000_000),
            volume_24h_usd=Decimal("95133256404.37308"),
            btc_dominance_pct=Decimal("57.9539332566265"),
            eth_dominance_pct=None,  # not among the coins that the answer names
            market_cap_change_24h_pct=Decimal("-1.6081983639177684"),
            active_assets=17397,
            markets=1476,
        )
    ]


def test_global_zeros_are_values():
    (market,) = parse(Dataset.GLOBAL, "zero")
    assert (market.market_cap_usd, market.volume_24h_usd, market.btc_dominance_pct, market.markets) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("situation", "reason"), [("empty", RejectReason.NO_PRICE), ("null_row", RejectReason.NO_TIME)]
)
def test_global_market_without_its_numbers_is_rejected(situation, reason):
    (reject,) = parse(Dataset.GLOBAL, situation)
    assert reject.reason is reason


# --------------------------------------------------------------------------- details


def test_details_keep_addresses_and_categories_that_are_said():
    assert parse(Dataset.ASSET_DETAILS, "normal") == [
        AssetDetails(
            source="coingecko",
            observed_at=at(15, 24, 51, 21000),
            received_at=RECEIVED,
            asset_id="ember-coin",
            symbol="EMB",
            name="Ember Coin",
            categories=("Layer 1 (L1)", "Proof of Work (PoW)"),
            platforms={"ethereum": "0x00ff"},
            genesis_date="2009-01-03",
            hashing_algorithm="SHA-256",
            homepage="https://ember.example",
            country_origin="CH",
        )
    ]


def test_empty_texts_in_details_are_none():
    (details,) = parse(Dataset.ASSET_DETAILS, "zero")
    assert (details.platforms, details.categories) == ({}, ())
    assert (details.homepage, details.country_origin, details.hashing_algorithm) == (None, None, None)


def test_details_without_a_time_are_rejected():
    (reject,) = parse(Dataset.ASSET_DETAILS, "null_row")
    assert reject.reason is RejectReason.NO_TIME


def test_details_of_another_coin_than_asked_for_are_rejected():
    (reject,) = parse(Dataset.ASSET_DETAILS, "normal", assets=("dust",))
    assert reject.reason is RejectReason.WRONG_SUBJECT
    assert reject.detail == "asked for dust, got ember-coin"


# --------------------------------------------------------------------------- history


def test_history_is_sorted_although_its_newest_point_comes_before_the_last_closed_one():
    first, now, sample = parse(Dataset.MARKET_HISTORY, "normal")
    assert [first.observed_at, now.observed_at, sample.observed_at] == [
        at(14, 30),
        at(15, 30),
        at(15, 30, 0, 955000),
    ]
    assert (now.asset_id, now.price_usd, now.market_cap_usd) == (
        "ember-coin",
        Decimal("61000.75"),
        Decimal("1220000000000.5"),
    )
    assert now.volume_24h_usd is None
    assert sample.volume_24h_usd == Decimal("0.000000904")
    assert first.market_cap_usd == 1_200_000_000_000


def test_history_joins_its_series_by_time_and_not_by_position():
    earlier, later = parse(Dataset.MARKET_HISTORY, "joined_by_time")
    assert (earlier.price_usd, earlier.market_cap_usd, earlier.volume_24h_usd) == (Decimal("1.5"), None, Decimal(9))
    assert (later.price_usd, later.market_cap_usd, later.volume_24h_usd) == (Decimal("1.6"), Decimal(160), Decimal(7))


def test_history_keeps_a_zero_volume_and_drops_an_unknown_cap():
    (point,) = parse(Dataset.MARKET_HISTORY, "zero")
    assert (point.price_usd, point.market_cap_usd, point.volume_24h_usd) == (Decimal("0.25"), None, Decimal(0))


def test_history_points_without_time_or_numbers_are_rejected():
    point, timeless, silent = parse(Dataset.MARKET_HISTORY, "null_row")
    assert point.price_usd == 2
    assert [timeless.reason, silent.reason] == [RejectReason.NO_TIME, RejectReason.NO_PRICE]


def test_history_holds_only_the_window_of_its_job_from_since_up_to_but_without_until():
    points = parse(Dataset.MARKET_HISTORY, "normal", since=at(14, 30), until=at(15, 30))
    assert [point.observed_at for point in points] == [at(14, 30)]


# --------------------------------------------------------------------------- candles


def test_candles_open_four_hours_before_the_time_in_the_answer_and_have_no_volume():
    first, *_ = parse(Dataset.CANDLES, "normal", interval=Interval.H4)
    assert first == Candle(
        source="coingecko",
        observed_at=at(8),
        received_at=RECEIVED,
        instrument=Instrument(
            venue="coingecko", base="ember-coin", quote="USD", kind=Kind.INDEX, venue_symbol="ember-coin"
        ),
        interval=Interval.H4,
        open_time=at(4),
        open=Decimal("60000.5"),
        high=Decimal(60500),
        low=Decimal("59000.25"),
        close=Decimal(60100),
        volume=None,
        quote_volume=None,
        trades=None,
        taker_buy_volume=None,
        closed=True,
    )
    assert first.instrument.id == "coingecko:ember-coin-USD:index"


def test_a_candle_stamped_in_the_future_is_unfinished():
    assert [candle.closed for candle in parse(Dataset.CANDLES, "normal")] == [True, True, False]


def test_a_candle_counts_as_closed_only_once_no_cached_answer_can_predate_its_end():
    ends_at_noon = [parse(Dataset.CANDLES, "normal", received_at=moment)[1] for moment in (at(12, 19), at(12, 20))]
    assert [candle.closed for candle in ends_at_noon] == [False, True]


def test_zero_prices_are_values_for_the_parser():
    (candle,) = parse(Dataset.CANDLES, "zero")
    assert (candle.open, candle.close) == (0, 0)


def test_candle_rows_of_nulls_are_rejected_and_the_others_stay():
    candle, timeless, priceless = parse(Dataset.CANDLES, "null_row")
    assert candle.open_time == at(8)
    assert [timeless.reason, priceless.reason] == [RejectReason.NO_TIME, RejectReason.NO_PRICE]


def test_candles_of_another_length_are_an_unknown_shape_and_never_stored_as_four_hours():
    with pytest.raises(PayloadError, match=r"\$\[1\]\[0\]: expected candles of 4h"):
        parse(Dataset.CANDLES, "half_hours")


def test_a_job_that_fills_a_hole_names_the_coin_by_its_instrument():
    usual = parse(Dataset.CANDLES, "normal")
    of_hole = parse(Dataset.CANDLES, "normal", assets=(), instruments=(usual[0].instrument,))
    assert usual[0].instrument.id == "coingecko:ember-coin-USD:index"
    assert of_hole == usual
    hole = job_for(Dataset.CANDLES, assets=(), instruments=(usual[0].instrument,), interval=Interval.H4)
    _, [(path, _)] = fetch(hole, b"[]")
    assert path.endswith("/coins/ember-coin/ohlc")


def test_candles_hold_only_the_window_of_their_job():
    candles = parse(Dataset.CANDLES, "normal", since=at(8), until=at(12))
    assert [candle.open_time for candle in candles] == [at(8)]


# --------------------------------------------------------------------------- every dataset


@pytest.mark.parametrize("dataset", [Dataset.LISTING, Dataset.MARKETS, Dataset.MARKET_HISTORY, Dataset.CANDLES])
def test_an_empty_answer_gives_no_records(dataset):
    assert parse(dataset, "empty") == []


@pytest.mark.parametrize(
    ("dataset", "path"),
    [
        (Dataset.LISTING, "$[0].symbol"),
        (Dataset.MARKETS, "$[0].current_price"),
        (Dataset.GLOBAL, "$.data.total_market_cap"),
        (Dataset.ASSET_DETAILS, "$.links.homepage"),
        (Dataset.MARKET_HISTORY, "$.market_caps[0]"),
        (Dataset.CANDLES, "$[0]"),
    ],
)
def test_an_unknown_shape_fails_the_payload_and_names_the_path(dataset, path):
    with pytest.raises(PayloadError) as caught:
        parse(dataset, "unknown_shape")
    assert caught.value.path == path


def test_an_empty_object_instead_of_a_coin_names_the_missing_field():
    with pytest.raises(PayloadError, match=r"\$\.id: missing"):
        parse(Dataset.ASSET_DETAILS, "empty")


@pytest.mark.parametrize("dataset", sorted(CoingeckoCollector.parsers))
@pytest.mark.parametrize("body", [b"", b"null", b"3", b"Throttled", b"<html></html>", b'{"data": []}', b"[[]]", b"[1]"])
def test_a_body_of_another_kind_is_a_payload_error(dataset, body):
    with pytest.raises(PayloadError):
        parse_body(dataset, body)


@pytest.mark.parametrize("dataset", sorted(CoingeckoCollector.parsers))
def test_the_same_answer_twice_gives_the_same_records(dataset):
    assert parse(dataset, "normal") == parse(dataset, "normal")


def test_a_later_answer_gives_the_same_candles_for_the_hours_both_cover():
    rows = json.loads((PAYLOADS / "candles__normal.json").read_bytes())
    earlier = parse_body(Dataset.CANDLES, json.dumps(rows[:2]).encode())
    later = parse_body(Dataset.CANDLES, json.dumps(rows[::-1]).encode())
    assert later[:2] == earlier


def leaves(node, path=()) -> Iterator[tuple]:
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from leaves(child, (*path, key))


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["1e99", "0001-01-01T00:00:00+14:00", "2026-13-01", "NaN", [], {}, [[]], [None], {"usd": []}]),
)
SITUATIONS = sorted(path.name for path in PAYLOADS.glob("*.json") if not path.name.startswith("error"))


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(SITUATIONS), data=st.data())
def test_no_parser_fails_on_a_mutated_payload_with_anything_but_a_payload_error(name, data):
    document = json.loads((PAYLOADS / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(leaves(document))))
        junk = copy.deepcopy(data.draw(JUNK))
        if not path:
            document = junk
            continue
        parent = document
        for step in path[:-1]:
            parent = parent[step]
        if data.draw(st.booleans()):
            parent[path[-1]] = junk
        else:
            del parent[path[-1]]
    try:
        parse_body(Dataset(name.partition("__")[0]), json.dumps(document).encode())
    except PayloadError as error:
        assert error.path.startswith("$")  # noqa: PT017


@given(st.binary(max_size=200))
def test_no_check_fails_on_any_body_with_anything_but_a_venue_error(body):
    for status in (200, 401, 404, 429, 500):
        try:
            CoingeckoCollector.check(answer(body, status))
        except VenueError as error:
            assert error.source == "coingecko"  # noqa: PT017


# --------------------------------------------------------------------------- errors


def answer(body, status, headers=None):
    return Answer(status=status, headers=headers or {}, body=body, received_at=RECEIVED)


def error_of(name, status, headers=None):
    with pytest.raises(VenueError) as caught:
        CoingeckoCollector.check(answer((PAYLOADS / f"error__{name}").read_bytes(), status, headers))
    return caught.value


@pytest.mark.parametrize(
    ("name", "status", "kind", "code"),
    [
        ("flat.json", 404, RequestRejected, ""),
        ("flat.json", 200, RequestRejected, ""),
        ("status.json", 401, AccessDenied, "10002"),
        ("status_429.json", 429, RateLimited, "429"),
        ("status_429.json", 200, RateLimited, "429"),
        ("nested.json", 401, RequestRejected, "10012"),
        ("split.json", 400, AccessDenied, "10011"),
        ("rails.json", 500, VenueUnreachable, "500"),
        ("rails.json", 200, VenueUnreachable, "500"),
        ("throttled.txt", 429, RateLimited, ""),
        ("throttled.txt", 403, RateLimited, ""),
        ("blocked.html", 403, AccessDenied, ""),
        ("blocked.html", 503, VenueUnreachable, ""),
        ("blocked.html", 408, VenueUnreachable, ""),
        ("blocked.html", 451, AccessDenied, ""),
        ("blocked.html", 422, RequestRejected, ""),
    ],
)
def test_every_error_shape_becomes_our_error_with_the_providers_code(name, status, kind, code):
    error = error_of(name, status)
    assert type(error) is kind
    assert (error.source, error.status, error.code) == ("coingecko", status, code)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (10002, AccessDenied),
        (10005, RequestRejected),  # this endpoint only; the plan has others
        (10010, AccessDenied),
        (10011, AccessDenied),
        (10012, RequestRejected),
    ],
)
def test_the_code_decides_where_the_same_http_status_means_different_things(code, kind):
    body = json.dumps({"status": {"error_code": code, "error_message": "no"}}).encode()
    with pytest.raises(kind):
        CoingeckoCollector.check(answer(body, 401))


def test_an_unknown_coin_is_gone_while_a_missing_parameter_is_only_refused():
    assert error_of("flat.json", 404).symbol_gone is True
    with pytest.raises(RequestRejected) as caught:
        CoingeckoCollector.check(answer(b'{"error":"Missing parameter days"}', 422))
    assert caught.value.symbol_gone is False
    assert str(caught.value) == "HTTP 422: Missing parameter days"


def test_the_error_text_is_one_line_that_names_status_code_and_reason():
    assert str(error_of("status.json", 401)) == "HTTP 401, code 10002: API Key Missing. Please use your key."
    assert "\n" not in str(error_of("blocked.html", 403))


@pytest.mark.parametrize(
    ("headers", "retry_at"),
    [
        ({"retry-after": "119"}, RECEIVED + timedelta(seconds=119)),
        ({"retry-after": "0"}, RECEIVED),
        ({}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 30}, None),
    ],
)
def test_a_rate_limit_carries_the_moment_that_retry_after_names(headers, retry_at):
    assert error_of("status_429.json", 429, headers).retry_at == retry_at


@pytest.mark.parametrize("dataset", sorted(CoingeckoCollector.parsers))
def test_a_good_answer_passes_the_check(dataset):
    assert CoingeckoCollector.check(answer((PAYLOADS / f"{dataset}__normal.json").read_bytes(), 200)) is None


# --------------------------------------------------------------------------- calls


class Transport(BaseAdapter):
    """Answers every request of the SDK with the next body and notes the URL."""

    def __init__(self, bodies):
        super().__init__()
        self.bodies, self.urls = list(bodies), []

    def send(self, request, **_):
        self.urls.append(request.url)
        response = requests.Response()
        response.status_code, response._content, response.url = 200, self.bodies.pop(0), request.url
        return response

    def close(self):
        pass


class DirectSdk:
    """The real SDK object over a transport that answers from memory."""

    def __init__(self, *bodies):
        self.transport, self.costs, self.answers = Transport(bodies), [], list(bodies)
        self.api = CoinGeckoAPI(retries=0)
        self.api.session.mount("https://", self.transport)

    def call(self, use, cost):
        body = self.answers[len(self.transport.urls)]
        use(self.api)
        self.costs.append(cost)
        return answer(body, 200)


def fetch(job, *bodies, **facts):
    sdk = DirectSdk(*bodies)
    collector = CoingeckoCollector(sdk, ManualClock(RECEIVED), **facts)
    payloads = list(collector.fetch(job))
    calls = [(urlsplit(url).path, parse_qs(urlsplit(url).query)) for url in sdk.transport.urls]
    assert sdk.costs == [Cost(scope="calls", weight=1)] * len(calls)
    assert all(item.job is job for item in payloads)
    return payloads, calls


def page_of(count, first=0):
    rows = [
        {"id": f"coin-{first + i}", "current_price": 1, "last_updated": "2026-01-31T15:00:00Z"} for i in range(count)
    ]
    return json.dumps(rows).encode()


def test_markets_are_asked_for_in_full_pages_with_the_three_windows():
    job = job_for(Dataset.MARKETS, limit=300)
    payloads, calls = fetch(job, page_of(250), page_of(250, 250), page_of(0))
    assert [path for path, _ in calls] == ["/api/v3/coins/markets"] * 2
    assert [query["page"] for _, query in calls] == [["1"], ["2"]]
    assert calls[0][1] == {
        "vs_currency": ["usd"],
        "order": ["market_cap_desc"],
        "per_page": ["250"],
        "page": ["1"],
        "price_change_percentage": ["1h,24h,7d"],
        "precision": ["full"],
        "sparkline": ["false"],
    }
    assert [len(CoingeckoCollector.parsers[Dataset.MARKETS](item)) for item in payloads] == [250, 250]


@pytest.mark.parametrize(("limit", "pages"), [(None, 1), (1, 1), (250, 1), (251, 2), (500, 2), (1000, 3)])
def test_pages_end_with_the_limit_or_with_a_short_page(limit, pages):
    _, calls = fetch(job_for(Dataset.MARKETS, limit=limit), page_of(250), page_of(250), page_of(249), page_of(250))
    assert len(calls) == pages


def test_listing_and_global_are_one_call_each():
    assert fetch(job_for(Dataset.LISTING), b"[]")[1] == [("/api/v3/coins/list", {})]
    assert fetch(job_for(Dataset.GLOBAL), b'{"data": {}}')[1] == [("/api/v3/global", {})]


def test_details_are_asked_for_without_anything_heavy():
    _, [(path, query)] = fetch(job_for(Dataset.ASSET_DETAILS), b"{}")
    assert path == "/api/v3/coins/ember-coin/"
    heavy = ["localization", "tickers", "market_data", "community_data", "developer_data", "sparkline"]
    assert query == {name: ["false"] for name in heavy}


def test_an_asset_id_cannot_leave_its_place_in_the_path():
    _, [(path, query)] = fetch(job_for(Dataset.ASSET_DETAILS, assets=("../key?a=b#c",)), b"{}")
    assert path == "/api/v3/coins/..%2Fkey%3Fa%3Db%23c/"
    assert "a" not in query


@pytest.mark.parametrize(
    ("since", "until", "days"),
    [
        (RECEIVED - timedelta(hours=2), RECEIVED, 1),
        (RECEIVED - timedelta(days=1), RECEIVED, 1),
        (RECEIVED - timedelta(days=1, seconds=1), RECEIVED, 2),
        (RECEIVED - timedelta(days=90), RECEIVED, 90),
        (RECEIVED - timedelta(days=90, minutes=10), RECEIVED - timedelta(minutes=10), 90),  # planned ten minutes ago
        (RECEIVED - timedelta(days=60), RECEIVED - timedelta(days=59), 60),  # an old window: counted from now
        (RECEIVED - timedelta(days=400), RECEIVED, 365),
        (RECEIVED - timedelta(days=30), None, 30),
        (RECEIVED + timedelta(days=3), None, 1),
        (None, None, 1),
    ],
)
def test_history_asks_for_as_many_days_as_reach_the_start_of_the_window(since, until, days):
    job = job_for(Dataset.MARKET_HISTORY, since=since, until=until)
    _, [(path, query)] = fetch(job, b"{}")
    assert path == "/api/v3/coins/ember-coin/market_chart"
    assert query == {"vs_currency": ["usd"], "days": [str(days)]}


@pytest.mark.parametrize(("history", "days"), [(timedelta(days=730), "730"), (None, "1500")])
def test_history_reaches_as_far_as_the_plan_allows(history, days):
    job = job_for(Dataset.MARKET_HISTORY, since=RECEIVED - timedelta(days=1500))
    _, [(_, query)] = fetch(job, b"{}", history=history)
    assert query["days"] == [days]


@pytest.mark.parametrize("interval", [None, Interval.H4])
def test_candles_are_asked_for_over_thirty_days_which_gives_four_hours(interval):
    _, [(path, query)] = fetch(job_for(Dataset.CANDLES, interval=interval), b"[]")
    assert path == "/api/v3/coins/ember-coin/ohlc"
    assert query == {"vs_currency": ["usd"], "days": ["30"]}


@pytest.mark.parametrize(
    "job", [job_for(Dataset.CANDLES, interval=Interval.H1), job_for(Dataset.ORDER_BOOKS), job_for(Dataset.FUNDING)]
)
def test_what_the_provider_does_not_have_is_refused_without_a_call(job):
    sdk = DirectSdk()
    with pytest.raises(RequestRejected, match=f"no {job.dataset}"):
        list(CoingeckoCollector(sdk, ManualClock(RECEIVED)).fetch(job))
    assert sdk.transport.urls == []


# --------------------------------------------------------------------------- facts


def test_every_dataset_has_a_shape_and_a_parser_and_answers_say_nothing_of_use():
    assert set(CoingeckoCollector.shapes) == set(CoingeckoCollector.parsers)
    assert CoingeckoCollector.used_weight(answer(b"[]", 200)) == {}


@pytest.mark.parametrize(
    ("name", "host", "header", "minute", "month", "history"),
    [
        ("public", "api", None, 10, None, 365),
        ("demo", "api", "x-cg-demo-api-key", 30, 10_000, 365),
        ("basic", "pro-api", "x-cg-pro-api-key", 250, 100_000, 730),
        ("analyst", "pro-api", "x-cg-pro-api-key", 500, 500_000, None),
        ("lite", "pro-api", "x-cg-pro-api-key", 500, 2_000_000, None),
        ("pro", "pro-api", "x-cg-pro-api-key", 500, None, None),
    ],
)
def test_each_plan_pairs_its_key_with_its_own_root_and_limits(name, host, header, minute, month, history):
    plan = CoingeckoCollector.plans[name]
    assert (plan.base_url, plan.key_header) == (f"https://{host}.coingecko.com/api/v3", header)
    expected = [Limit(scope="calls", capacity=minute, window=timedelta(minutes=1))]
    if month is not None:
        expected.append(Limit(scope="calls", capacity=month, window=timedelta(days=31)))
    assert list(plan.limits) == expected
    assert plan.history == (None if history is None else timedelta(days=history))


def test_there_are_no_other_plans():
    assert set(CoingeckoCollector.plans) == {"public", "demo", "basic", "analyst", "lite", "pro"}

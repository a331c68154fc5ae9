"""What every address under /api/v1 keeps: pages, parameters, formats, and where rows came from and how old they are."""

import base64
import csv
import io
from datetime import timedelta
from decimal import Decimal

import orjson
import pyarrow as pa
import pytest

from collector.records import CycleReport, CycleState, Dataset, IndicatorBlock, Interval, Job, Suspect
from collector.storage.providers import ProviderStore
from collector.storage.suspects import Suspects
from tests.api.v1_stand import NOW, Stand
from tests.storage.samples import BTC, NOON, asset, batch, book, candle, everything, listing, perp, snapshot, ticker

CANDLES = {"instrument": BTC.id, "interval": "1m"}
ETH = perp("ETH")


@pytest.fixture(scope="module")
def filled(cluster):
    """A database that no test changes: five bars, and one row of everything else."""
    url = cluster.create_database()
    stand = Stand(url)
    stand.write(
        batch(asset(), asset("ethereum", "ETH", "Ethereum"), source="coingecko", dataset=Dataset.LISTING),
        batch(listing(), listing(ETH), dataset=Dataset.INSTRUMENTS),
        batch(*[candle(minute) for minute in range(5)]),
        batch(*[row for row in everything() if type(row).__name__ != "Candle"]),
    )
    columns = {name: [1.5, 2.5, float("nan")] for name in ("rsi_14", "macd", "sma_20")}
    block = IndicatorBlock(
        instrument=BTC,
        interval=Interval.M1,
        open_times=tuple(NOON + timedelta(minutes=minute) for minute in range(3)),
        columns=columns,
        extra={"cci_20": [10.0, 20.0, 30.0]},
        warm=(False, False, True),
    )
    stand.writer.write_indicators(stand.cycle, [block])
    yield stand
    stand.close()
    cluster.drop(url)


@pytest.fixture(scope="module")
def _shared(cluster):
    url = cluster.create_database()
    made = Stand(url)
    yield made
    made.close()
    cluster.drop(url)


@pytest.fixture
def stand(_shared):
    """An empty database, but for one running cycle."""
    _shared.empty()
    return _shared


def minutes(rows):
    return [row["open_time"][14:16] for row in rows]


# --------------------------------------------------------------------------- pages


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
def test_following_next_gives_every_row_once_newest_first(filled, limit):
    assert minutes(filled.all_pages("/candles", limit=limit, **CANDLES)) == ["04", "03", "02", "01", "00"]


def test_oldest_first_when_asked(filled):
    assert minutes(filled.all_pages("/candles", limit=2, order="oldest", **CANDLES)) == ["00", "01", "02", "03", "04"]


def test_the_last_page_names_no_next_one_even_when_it_is_full(filled):
    page = filled.page("/candles", limit=5, **CANDLES)
    assert (page["count"], page["next"]) == (5, None)


def test_rows_stored_while_a_client_pages_neither_repeat_nor_push_out_others(stand):
    stand.write(batch(*[candle(minute) for minute in (0, 2, 4, 6, 8)]))
    fresh = iter(range(9, 30))

    def cycle_writes():
        stand.write(batch(candle(next(fresh)), candle(next(fresh)), candle(4, close=Decimal("99.5"))))

    rows = stand.all_pages("/candles", between=cycle_writes, limit=1, **CANDLES)
    assert minutes(rows) == ["08", "06", "04", "02", "00"]


def test_a_range_has_its_start_and_not_its_end_in_iso_or_in_milliseconds(filled):
    iso = {"from_": "2026-01-31T12:01:00Z", "to": "2026-01-31T13:03:00+01:00"}
    millis = {"from_": "1769860860000", "to": "1769860980000"}
    naive = {"from_": "2026-01-31T12:01:00", "to": "2026-01-31 12:03"}
    for asked in (iso, millis, naive):
        assert minutes(filled.page("/candles", **CANDLES, **asked)["data"]) == ["02", "01"]


def _packed(value):
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


GARBAGE = [
    "x",
    "!!!!",
    "=",
    "AAAA",
    "e30",
    _packed(None),
    _packed([]),
    _packed({"a": 1}),
    _packed(["mark"]),
    _packed(["mark", 1, 2]),
    "' OR 1=1 --",
    "%00",
    "ümlaut",
    "9" * 1999,
    "[" * 1999,
]


@pytest.mark.parametrize("cursor", GARBAGE)
def test_a_cursor_that_is_none_is_an_invalid_parameter(filled, cursor):
    assert filled.refusal("/candles", cursor=cursor, **CANDLES) == (400, "INVALID_PARAMETER")


def test_a_cursor_with_a_changed_place_is_an_invalid_parameter_or_a_place(filled):
    cursor = filled.page("/candles", limit=1, **CANDLES)["next"]
    mark = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))[0]
    for place in (None, 5, 1.5, True, [], {}, "", "today", "2026-01-31", "2026-13-01T00:00:00Z", "a\0b", "x" * 500):
        assert filled.refusal("/candles", cursor=_packed([mark, place]), **CANDLES) == (400, "INVALID_PARAMETER")
    moved = _packed([mark, "2026-01-31T12:02:00Z"])
    assert minutes(filled.page("/candles", cursor=moved, **CANDLES)["data"]) == ["01", "00"]


def test_a_cursor_of_another_request_is_an_invalid_parameter(filled):
    cursor = filled.page("/candles", limit=1, **CANDLES)["next"]
    assert filled.refusal("/indicators", cursor=cursor, **CANDLES)[1] == "INVALID_PARAMETER"
    assert filled.refusal("/candles", cursor=cursor, order="oldest", **CANDLES)[1] == "INVALID_PARAMETER"
    assert filled.refusal("/candles", cursor=cursor, **{**CANDLES, "interval": "1h"})[1] == "INVALID_PARAMETER"
    assert filled.page("/candles", cursor=cursor, limit=2, numbers="string", **CANDLES)["count"] == 2


# --------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    "asked",
    [
        {"limit": 0},
        {"limit": -1},
        {"limit": 5001},
        {"limit": "ten"},
        {"limit": "1e3"},
        {"format": "xml"},
        {"numbers": "float"},
        {"order": "DESC"},
        {"from_": "yesterday"},
        {"from_": "0001-01-01T00:00:00+14:00"},
        {"from_": "9" * 16},
        {"from_": "2026-01-31T12:00:00Z", "to": "2026-01-31T12:00:00Z"},
        {"unheard_of": 1},
        {"source": "a\0b"},
        {"source": "x" * 201},
        {"source": ""},
    ],
)
def test_a_parameter_that_cannot_be_used_is_refused(filled, asked):
    assert filled.refusal("/candles", **CANDLES, **asked) == (400, "INVALID_PARAMETER")


@pytest.mark.parametrize("name", ["BTC", "okx:BTC-USDT", "okx:BTC-USDT:swap", "okx/BTC-USDT:perp", "'; --", "a,b"])
def test_what_is_no_canonical_id_is_an_invalid_symbol(filled, name):
    assert filled.refusal("/candles", instrument=name, interval="1m") == (400, "INVALID_SYMBOL")
    assert filled.refusal("/tickers/latest", instrument=f"{BTC.id},{name}") == (400, "INVALID_SYMBOL")


def test_an_instrument_that_nobody_listed_is_not_found(filled):
    asked = {"instrument": "okx:NOPE-USDT:perp"}
    assert filled.refusal("/candles", interval="1m", **asked) == (404, "NOT_FOUND")
    assert filled.refusal("/tickers", **asked) == (404, "NOT_FOUND")


def test_an_instrument_without_rows_is_an_empty_page(filled):
    assert filled.page("/candles", instrument=ETH.id, interval="1m")["data"] == []


@pytest.mark.parametrize("interval", ["2h", "1H", "60", "''"])
def test_an_interval_that_nobody_has_is_refused_by_name(filled, interval):
    asked = {"instrument": BTC.id, "interval": interval}
    assert filled.refusal("/candles", **asked) == (400, "INVALID_INTERVAL")
    assert filled.refusal("/indicators", **asked) == (400, "INVALID_INTERVAL")
    assert filled.refusal("/coverage", interval=interval) == (400, "INVALID_INTERVAL")


def test_what_an_address_needs_has_to_be_there(filled):
    assert filled.refusal("/candles", instrument=BTC.id) == (400, "INVALID_INTERVAL")
    assert filled.refusal("/tickers") == (400, "INVALID_PARAMETER")
    assert filled.refusal("/markets") == (400, "INVALID_PARAMETER")


def test_a_page_is_never_longer_than_configured(migrated_url):
    stand = Stand(migrated_url, page_rows=2)
    stand.write(batch(*[candle(minute) for minute in range(5)]))
    assert stand.page("/candles", **CANDLES)["count"] == 2
    assert stand.refusal("/candles", limit=3, **CANDLES) == (400, "INVALID_PARAMETER")
    stand.close()


def test_text_that_looks_like_sql_finds_nothing_and_harms_nothing(filled):
    for text in ("'", "okx'; DROP TABLE candles; --", "%(limit)s", "%s", "\\", "{inside}", "1) OR (1=1", "$1", "%"):
        assert filled.refusal("/candles", source=text, **CANDLES) == (400, "INVALID_PARAMETER")
        assert filled.page("/assets", symbol=text)["data"] == []
        assert filled.refusal("/instruments", venue=text) == (400, "INVALID_PARAMETER")
        assert filled.refusal("/markets/latest", asset_id=text) == (404, "NOT_FOUND")
        assert filled.page("/suspects", subject=text)["data"] == []
    assert filled.page("/candles", **CANDLES)["count"] == 5


# --------------------------------------------------------------------------- indicators


def test_only_the_columns_asked_for_come_with_what_names_a_row(filled):
    row = filled.page("/indicators", columns="macd, rsi_14", **CANDLES)["data"][1]
    assert row == {
        "instrument": BTC.id,
        "interval": "1m",
        "open_time": "2026-01-31T12:01:00.000Z",
        "rsi_14": 2.5,
        "macd": 2.5,
    }


def test_an_indicator_that_is_no_number_is_null_and_configured_functions_are_there(filled):
    row = filled.page("/indicators", **CANDLES)["data"][0]
    assert row["rsi_14"] is None
    assert row["extra"] == {"cci_20": 30.0}
    assert row["warm"] is True


def test_an_unknown_column_is_refused_with_what_is_near(filled):
    answer = filled.get("/indicators", columns="rsi14", **CANDLES)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "INVALID_PARAMETER"
    assert "rsi_14" in error["details"]["near"]
    nothing_near = filled.get("/indicators", columns="zzzzzzzz", **CANDLES).json()["error"]
    assert "bb_upper" in nothing_near["message"]


def test_the_newest_indicators_of_each_instrument(filled):
    filled.write(
        batch(
            job=Job(
                source="okx",
                dataset=Dataset.CANDLES,
                instruments=(BTC,),
                interval=Interval.M1,
                since=NOON,
                until=NOON + timedelta(minutes=5),
            )
        )
    )
    rows = filled.page("/indicators/latest", interval="1m", columns="sma_20")["data"]
    assert [(row["instrument"], row["open_time"][14:16]) for row in rows] == [(BTC.id, "02")]


# --------------------------------------------------------------------------- numbers and formats


def test_numbers_are_numbers_or_exact_text(stand):
    price = "0.100000000000000000000000000001"
    stand.write(batch(ticker(last_price=price)))
    assert stand.page("/tickers/latest", numbers="string")["data"][0]["last_price"] == price
    assert stand.page("/tickers/latest")["data"][0]["last_price"] == 0.1


def test_zero_is_zero_and_what_is_not_known_is_null_in_every_format(filled):
    row = filled.page("/tickers/latest")["data"][0]
    assert (row["volume_24h"], row["bid_price"]) == (0.0, None)
    table = list(csv.DictReader(io.StringIO(filled.get("/tickers/latest", format="csv").text)))
    assert (table[0]["volume_24h"], table[0]["bid_price"]) == ("0.0", "")
    arrow = pa.ipc.open_stream(filled.get("/tickers/latest", format="arrow").content).read_all().to_pylist()
    assert (arrow[0]["volume_24h"], arrow[0]["bid_price"]) == (0.0, None)


def test_csv_has_the_rows_of_json_and_tells_the_rest_in_headers(filled):
    answer = filled.get("/candles", format="csv", limit=2, numbers="string", **CANDLES)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    told = filled.page("/candles", limit=2, numbers="string", **CANDLES)
    assert [{name: value or None for name, value in row.items()} for row in rows] == [
        {name: None if value is None else str(value) for name, value in row.items()} for row in told["data"]
    ]
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["x-source"] == "okx"
    assert answer.headers["x-as-of"] == told["as_of"]
    assert answer.headers["x-stale"] == "false"
    assert answer.headers["x-next-cursor"] == told["next"]


def test_arrow_has_typed_columns_even_without_rows(filled):
    answer = filled.get("/candles", format="arrow", **CANDLES)
    assert answer.headers["content-type"] == "application/vnd.apache.arrow.stream"
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table.schema.field("open_time").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("close").type == pa.float64()
    assert table.schema.metadata[b"source"] == b"okx"
    assert table["open_time"].to_pylist()[-1] == NOON
    empty = pa.ipc.open_stream(filled.get("/candles", format="arrow", source="kraken", **CANDLES).content).read_all()
    assert empty.num_rows == 0
    assert empty.schema.field("close").type == pa.float64()
    books = pa.ipc.open_stream(filled.get("/order_books", format="arrow", instrument=BTC.id).content).read_all()
    assert books["bid_prices"].to_pylist() == [[99.0]]


def test_pages_of_arrow_and_csv_can_be_followed_too(filled):
    seen, cursor = [], None
    while True:
        asked = {"cursor": cursor} if cursor else {}
        answer = filled.get("/candles", format="arrow", limit=2, **CANDLES, **asked)
        seen += pa.ipc.open_stream(answer.content).read_all()["open_time"].to_pylist()
        cursor = answer.headers.get("x-next-cursor")
        if cursor is None:
            break
    assert seen == [NOON + timedelta(minutes=minute) for minute in (4, 3, 2, 1, 0)]


def test_the_link_header_leads_to_the_next_page(filled):
    answer = filled.get("/candles", limit=3, **CANDLES)
    address = answer.headers["link"].split(">")[0].lstrip("<")
    assert minutes(filled.client.get(address).json()["data"]) == ["01", "00"]


def test_an_unchanged_answer_is_not_sent_again(filled):
    tag = filled.get("/candles", **CANDLES).headers["etag"]
    again = filled.client.get("/api/v1/candles", params=CANDLES, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    other = filled.client.get("/api/v1/candles", params={**CANDLES, "limit": 1}, headers={"If-None-Match": tag})
    assert other.status_code == 200


# --------------------------------------------------------------------------- source, as_of, stale


def test_an_answer_names_its_sources_and_its_newest_row(stand):
    stand.write(batch(candle(0), candle(1, source="binance_futures"), candle(2)))
    page = stand.page("/candles", **CANDLES)
    assert page["source"] == ["binance_futures", "okx"]
    assert [row["source"] for row in page["data"]] == ["okx", "binance_futures", "okx"]
    assert page["as_of"] == "2026-01-31T12:03:00.000Z"  # the end of the newest bar
    assert page["simulated"] is True


@pytest.mark.parametrize(("age", "stale"), [(0, False), (599, False), (600, False), (601, True), (90_000, True)])
def test_an_answer_is_stale_when_it_is_older_than_two_cadences(stand, age, stale):
    stand.write(batch(ticker(at=NOW - timedelta(seconds=age))))  # tickers of okx come every five minutes
    page = stand.page("/tickers", instrument=BTC.id)
    assert page["stale"] is stale
    newest = stand.page("/tickers/latest")
    assert (newest["stale"], newest["data"][0]["stale"]) == (stale, stale)


@pytest.mark.parametrize(("hours", "stale"), [(0, False), (1.9, False), (2.1, True)])
def test_a_bar_is_expected_no_sooner_than_it_can_be(stand, hours, stale):
    closed = NOW - timedelta(hours=hours)
    bar = candle(0, interval=Interval.H1, open_time=closed - timedelta(hours=1), observed_at=closed)
    stand.write(batch(bar))
    assert stand.page("/candles", instrument=BTC.id, interval="1h")["stale"] is stale


def test_a_range_that_ends_in_the_past_is_judged_by_its_end(stand):
    stand.write(batch(*[candle(minute) for minute in range(-3000, -2900)]))
    asked = {**CANDLES, "limit": 10}
    assert stand.page("/candles", **asked)["stale"] is True
    assert stand.page("/candles", **asked, to="2026-01-29T11:40:00Z")["stale"] is False
    assert stand.page("/candles", **asked, to="2026-01-30T00:00:00Z")["stale"] is True
    first = stand.page("/candles", **asked, to="2026-01-29T11:40:00Z")
    assert stand.page("/candles", **asked, cursor=first["next"])["stale"] is False
    assert stand.page("/candles", **asked, order="oldest")["stale"] is False  # it ends because it is full
    assert stand.page("/candles", **{**asked, "limit": 1000}, order="oldest")["stale"] is True


def test_nothing_where_something_should_be_is_stale(stand):
    stand.write(batch(listing(), dataset=Dataset.INSTRUMENTS))
    page = stand.page("/tickers", instrument=BTC.id)
    assert (page["data"], page["source"], page["as_of"], page["stale"]) == ([], [], None, True)
    soon = {"from_": "2026-01-31T12:04:00Z"}
    assert stand.page("/tickers", instrument=BTC.id, **soon)["stale"] is False  # the next is not due yet


def test_a_source_that_is_well_does_not_hide_one_that_is_not(stand):
    old = ticker(ETH, at=NOW - timedelta(hours=3))
    stand.write(batch(ticker(at=NOW), old))
    page = stand.page("/tickers/latest")
    assert page["stale"] is False
    assert [(row["instrument"], row["stale"]) for row in page["data"]] == [(BTC.id, False), (ETH.id, True)]


# --------------------------------------------------------------------------- the rest of what is stored


def test_assets_and_instruments_are_found_by_what_they_are(filled):
    assert [row["asset_id"] for row in filled.all_pages("/assets", limit=1)] == ["bitcoin", "ethereum"]
    assert [row["asset_id"] for row in filled.page("/assets", symbol="eth,xyz")["data"]] == ["ethereum"]
    assert filled.page("/assets", followed="true")["data"] == []
    assert [row["instrument"] for row in filled.all_pages("/instruments", limit=1)] == [BTC.id, ETH.id]
    assert [row["base"] for row in filled.page("/instruments", base="ETH", kind="perp")["data"]] == ["ETH"]
    assert filled.page("/instruments", kind="spot")["data"] == []


def test_a_cycle_is_told_with_its_report(stand):
    stand.writer.finish_cycle(
        CycleReport(
            cycle_id=stand.cycle,
            cadence="market",
            state=CycleState.PARTIAL,
            started_at=NOON,
            finished_at=NOON + timedelta(seconds=9),
            sources=(),
            suspects=3,
        )
    )
    row = stand.page("/cycles", state="partial")["data"][0]
    assert "report" not in row
    told = stand.page(f"/cycles/{stand.cycle}")
    assert told["data"]["report"]["suspects"] == 3
    assert told["as_of"] == "2026-01-31T12:00:09.000Z"
    tag = stand.get(f"/cycles/{stand.cycle}").headers["etag"]
    again = stand.client.get(f"/api/v1/cycles/{stand.cycle}", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["vary"]) == (304, b"", "Accept-Encoding")
    assert stand.refusal("/cycles/999") == (404, "NOT_FOUND")
    assert stand.refusal("/cycles/0") == (400, "INVALID_PARAMETER")
    assert stand.refusal("/cycles/x") == (400, "INVALID_PARAMETER")
    assert stand.refusal(f"/cycles/{2**63}") == (400, "INVALID_PARAMETER")
    assert stand.page("/cycles", state="ok")["data"] == []


def test_gaps_tell_why_and_when_they_are_tried_again(stand):
    job = Job(
        source="okx",
        dataset=Dataset.CANDLES,
        instruments=(BTC,),
        interval=Interval.M1,
        since=NOON,
        until=NOON + timedelta(minutes=5),
    )
    stand.write(batch(*[candle(minute) for minute in (0, 1, 4)], job=job))
    gap = stand.page("/gaps")["data"]
    assert [(row["series"], row["since"][11:16], row["until"][11:16], row["state"]) for row in gap] == [
        ("okx:BTC-USDT:perp/1m", "12:02", "12:04", "missing")
    ]
    assert gap[0]["reason"] == "not in the provider's answer"
    assert gap[0]["next_try_at"] is not None
    held = stand.page("/coverage", instrument=BTC.id)["data"][0]
    assert (held["held_s"], held["missing_s"], held["holes"]) == (180.0, 120.0, 1)
    assert len(stand.all_pages("/coverage/windows", limit=1)) == 3


def test_lost_snapshots_are_those_of_a_week_unless_asked_for_more(stand):
    lost = Job(source="okx", dataset=Dataset.TICKERS, instruments=(BTC,))
    old = stand.writer.begin_cycle("market", NOON - timedelta(days=8), instance="t", folder="f", simulated=True)
    stand.writer.write(old, [batch(job=lost, state="failed", error="long ago")])
    stand.write(batch(job=lost, state="failed", error="timed out"))
    assert [row["error"] for row in stand.page("/gaps/snapshots")["data"]] == ["timed out"]
    both = stand.all_pages("/gaps/snapshots", limit=1, from_="2026-01-01")
    assert sorted(row["error"] for row in both) == ["long ago", "timed out"]
    assert stand.page("/gaps/snapshots", from_="2026-01-01", to="2026-01-30")["count"] == 1


def test_providers_are_told_with_what_they_asked_of_us(stand):
    store = ProviderStore(stand.database)
    store.save_state("okx", NOON + timedelta(hours=1), "too many requests", banned=True)
    stand.write(batch(ticker(), dataset=Dataset.TICKERS))
    row = stand.page("/sources")["data"][0]
    assert (row["source"], row["banned"], row["paused_until"]) == ("okx", True, "2026-01-31T13:00:00.000Z")
    assert (row["jobs_ok"], row["rows_written"], row["last_ok_at"]) == (1, 1, "2026-01-31T12:00:02.000Z")
    assert stand.page("/sources", source="kraken")["data"] == []
    assert stand.refusal("/sources", cursor="x") == (400, "INVALID_PARAMETER")


def test_whose_account_a_budget_is_stays_inside(stand):
    with stand.database.transaction() as connection:
        connection.exec_driver_sql(
            "INSERT INTO provider_budgets VALUES ('okx', 'secret-digest', 'calls', 60, 20, 7, '[]', now()), "
            "('okx', '203.0.113.9', 'calls', 60, 20, 8, '[]', now())"
        )
    rows = stand.all_pages("/sources/budgets", limit=1)
    assert sorted(row["used"] for row in rows) == [7, 8]
    answer = stand.get("/sources/budgets", limit=1)
    cursor = answer.json()["next"]
    plain = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    for told in (answer.text, plain):
        assert "secret-digest" not in told
        assert "203.0.113.9" not in told


def test_changed_and_doubtful_values_are_told(stand):
    stand.write(batch(candle(0)))
    stand.write(batch(candle(0, close=Decimal("100.75"))))
    revision = stand.page("/revisions", subject=BTC.id)["data"][0]
    assert (revision["old"], revision["new"]) == ({"close": "100"}, {"close": "100.75"})
    doubt = Suspect(
        dataset=Dataset.TICKERS,
        subject=BTC.id,
        source="okx",
        observed_at=NOON,
        kind="jump",
        value=Decimal("200.50"),
        reference=Decimal(100),
        reference_source="okx",
        detail="twice as much as before",
    )
    Suspects(stand.database).write(stand.cycle, [doubt])
    told = stand.page("/suspects", numbers="string")["data"][0]
    assert (told["value"], told["reference"], told["kind"]) == ("200.50", "100", "jump")


@pytest.mark.parametrize("path", ["/position_ratios"])
def test_what_nothing_collects_yet_is_an_empty_page(filled, path):
    page = filled.page(path, instrument=BTC.id)
    assert (page["data"], page["next"], page["stale"]) == ([], None, False)
    assert filled.get(path, format="csv").content == b""  # no columns, no header, no line
    assert filled.refusal(path, instrument="okx:NOPE-USDT:perp") == (404, "NOT_FOUND")
    assert filled.refusal(path, instrument="BTC") == (400, "INVALID_SYMBOL")
    assert pa.ipc.open_stream(filled.get(path, format="arrow").content).read_all().num_rows == 0
    assert filled.refusal(path, cursor="x") == (400, "INVALID_PARAMETER")
    assert filled.refusal(path, to="soon") == (400, "INVALID_PARAMETER")


def test_books_come_with_as_many_levels_as_asked_for(stand):
    stand.write(batch(book(bids=[("99", "1"), ("98", "2"), ("97", "3")])))
    assert stand.page("/order_books", instrument=BTC.id, levels=2)["data"][0]["bid_prices"] == [99.0, 98.0]
    assert stand.page("/order_books/latest")["data"][0]["bid_sizes"] == [1.0, 2.0, 3.0]
    assert "bid_prices" not in stand.page("/order_books/depth", instrument=BTC.id)["data"][0]
    assert stand.refusal("/order_books", instrument=BTC.id, limit=501) == (400, "INVALID_PARAMETER")


def test_markets_are_told_by_asset(stand):
    stand.write(batch(asset(), source="coingecko", dataset=Dataset.LISTING))
    stand.write(batch(*[snapshot(at=NOON + timedelta(minutes=n), price=str(n + 1)) for n in range(3)]))
    assert [row["price_usd"] for row in stand.page("/markets", asset_id="bitcoin")["data"]] == [3.0, 2.0, 1.0]
    newest = stand.page("/markets/latest", symbol="btc")
    assert [(row["symbol"], row["price_usd"]) for row in newest["data"]] == [("BTC", 3.0)]
    assert newest["source"] == ["coingecko"]


# --------------------------------------------------------------------------- when things go wrong


def test_a_client_may_ask_as_often_as_configured(migrated_url):
    stand = Stand(migrated_url, rate_data=3)
    assert [stand.get("/assets").status_code for _ in range(3)] == [200, 200, 200]
    answer = stand.get("/cycles")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "RATE_LIMITED")
    stand.close()


def test_a_database_that_is_away_is_told_as_such(cluster):
    url = cluster.create_database()
    stand = Stand(url)
    cluster.drop(url)
    for path in ("/assets", "/sources", f"/cycles/{stand.cycle}"):
        answer = stand.get(path)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["retryAfter"]) == (503, "INTERNAL_ERROR", 5)
        assert error["message"] == "The database cannot answer now"
    stand.close()


def test_stored_text_with_markup_or_odd_characters_comes_as_it_is(stand):
    name = "<script>alert(1)</script> \u2028 \U0001f600 \"',;=cmd()"
    stand.write(batch(asset(name=name), source="coingecko", dataset=Dataset.LISTING))
    assert stand.page("/assets")["data"][0]["name"] == name
    assert next(csv.DictReader(io.StringIO(stand.get("/assets", format="csv").text)))["name"] == name
    assert stand.get("/assets").headers["content-type"] == "application/json"


def test_a_time_before_or_after_all_others_is_no_error(filled):
    assert filled.page("/candles", from_="0001-01-01T00:00:00Z", **CANDLES)["count"] == 5
    assert filled.page("/candles", to="9999-12-31T23:59:59Z", **CANDLES)["count"] == 5
    assert filled.page("/candles", to="0001-01-01T00:00:01Z", **CANDLES)["data"] == []

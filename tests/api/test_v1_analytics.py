"""What was computed, as its addresses tell it: every field as it was stored, the newest first, names that are known."""

import csv
import io
from datetime import timedelta

import pyarrow as pa
import pytest

from collector.records import Dataset
from tests.api import analytics_rows as made
from tests.api.analytics_rows import DAY, ETH, PORTFOLIO
from tests.api.v1_stand import Stand
from tests.storage.samples import BTC, NOON, asset, batch, listing, perp, snapshot

T = "2026-01-31T12:00:00.000Z"
MIDNIGHT = "2026-01-31T00:00:00.000Z"
MIDNIGHTS = NOON.replace(hour=0)
TOLD_AS = {
    "as_of": T,
    "observed_at": T,
    "bar_end": T,
    "day": MIDNIGHT,
    "window_since": "2026-01-30T06:00:00.000Z",
    "window_until": T,
    "exit_end": "2026-01-31T17:00:00.000Z",
}
NAMES = {"symbol": "BTC", "name": "Bitcoin"}


@pytest.fixture(scope="module")
def _shared(cluster):
    url = cluster.create_database()
    made = Stand(url)
    yield made
    made.close()
    cluster.drop(url)


@pytest.fixture
def stand(_shared):
    """Two assets and two instruments, nothing computed."""
    _shared.empty()
    _shared.write(
        batch(asset(), asset("ethereum", "ETH", "Ethereum"), source="coingecko", dataset=Dataset.LISTING),
        batch(listing(), listing(ETH), dataset=Dataset.INSTRUMENTS),
        batch(snapshot(), source="coingecko"),
    )
    return _shared


def told(row, **more):
    """Return what is told of a stored row."""
    return {**row, **{name: TOLD_AS[name] for name in row if name in TOLD_AS}, **made.COMPUTED, **more}


CASES = [
    ("/trends", {"subject": "bitcoin"}, "trends", made.trend(), NAMES),
    ("/trends", {"subject": BTC.id}, "trends", made.trend(BTC.id), {"symbol": None, "name": None}),
    ("/trends/latest", {}, "trends", made.trend(), {**NAMES, "stale": False}),
    ("/breadth", {}, "breadth", made.breadth(), {}),
    ("/derived_metrics", {"instrument": BTC.id}, "derived_metrics", made.metric(), {}),
    ("/derived_metrics/latest", {}, "derived_metrics", made.metric(), {"stale": False}),
    (
        "/ranks",
        {"asset_id": "bitcoin"},
        "rank_history",
        made.ranked(),
        {**NAMES, "observed_at": "2026-01-31T11:00:00.000Z"},
    ),
    ("/ranks/days", {}, "rank_history", made.ranked(), {**NAMES, "observed_at": "2026-01-31T11:00:00.000Z"}),
    ("/signals", {}, "signals", made.signal(), {}),
    ("/signals", {"instrument": BTC.id}, "signals", made.signal(), {}),
    ("/signals/latest", {}, "signals", made.signal(), {}),
    ("/signals/revisions", {}, "signal_revisions", made.revision(), {}),
    ("/signals/revisions", {"instrument": BTC.id}, "signal_revisions", made.revision(), {}),
    ("/signals/outcomes", {}, "signal_outcomes", made.outcome(), {}),
    ("/signals/outcomes", {"instrument": BTC.id}, "signal_outcomes", made.outcome(), {}),
    ("/views", {"asset_id": "bitcoin"}, "asset_views", made.view(), NAMES),
    ("/views/latest", {}, "asset_views", made.view(), {**NAMES, "stale": False}),
    ("/factors", {}, "factor_returns", made.factor(), {}),
    ("/information_coefficients", {}, "information_coefficients", made.coefficient(), {}),
    ("/paper_equity", {}, "paper_equity", made.equity(), {}),
    (f"/portfolios/{PORTFOLIO}/weights", {}, "portfolio_weights", made.weight(), NAMES),
]


@pytest.mark.parametrize(("path", "asked", "table", "row", "more"), CASES)
def test_a_row_is_told_as_it_was_stored_field_by_field(stand, path, asked, table, row, more):
    stand.find(**{table: [row]})
    page = stand.page(path, **asked)
    assert page["data"] == [told(row, **more)]
    assert (page["count"], page["next"], page["simulated"]) == (1, None, True)


def test_a_run_is_told_without_its_inputs_and_one_run_with_them(stand):
    row = made.run()
    stand.find(portfolio_runs=[row])
    without = {name: value for name, value in told(row).items() if name != "inputs"}
    assert stand.page("/portfolios")["data"] == [without]
    answer = stand.page("/portfolios/inputs", portfolio=PORTFOLIO, as_of=T)
    assert answer["data"] == told(row)
    assert (answer["as_of"], answer["source"], answer["stale"]) == (T, ["collector"], False)
    assert stand.page("/portfolios/inputs", portfolio=PORTFOLIO, as_of="1769860800000")["data"] == told(row)


def test_a_run_within_a_millisecond_is_found_by_the_time_it_is_told_with(stand):
    stand.find(portfolio_runs=[made.run(NOON + timedelta(microseconds=999))])
    as_of = stand.page("/portfolios")["data"][0]["as_of"]
    assert stand.page("/portfolios/inputs", portfolio=PORTFOLIO, as_of=as_of)["data"]["state"] == "ok"


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"portfolio": PORTFOLIO, "as_of": "2026-01-30T12:00:00Z"}, (404, "NOT_FOUND")),
        ({"portfolio": "another", "as_of": T}, (404, "NOT_FOUND")),
        ({"portfolio": PORTFOLIO, "as_of": "9999-12-31T23:59:59.999999Z"}, (404, "NOT_FOUND")),
        ({"portfolio": PORTFOLIO}, (400, "INVALID_PARAMETER")),
        ({"as_of": T}, (400, "INVALID_PARAMETER")),
        ({"portfolio": PORTFOLIO, "as_of": "soon"}, (400, "INVALID_PARAMETER")),
        ({"portfolio": PORTFOLIO, "as_of": T, "limit": 1}, (400, "INVALID_PARAMETER")),
    ],
)
def test_inputs_of_a_run_that_is_none_are_refused(stand, asked, status):
    stand.find(portfolio_runs=[made.run()])
    assert stand.refusal("/portfolios/inputs", **asked) == status


# --------------------------------------------------------------------------- nothing yet, and unknown names

EMPTY = [
    ("/trends", {"subject": "bitcoin"}),
    ("/trends/latest", {}),
    ("/breadth", {}),
    ("/derived_metrics", {"instrument": BTC.id, "measure": "price", "span": "15m"}),
    ("/derived_metrics/latest", {"measure": "rsi_14"}),
    ("/ranks", {"asset_id": "bitcoin"}),
    ("/ranks/days", {}),
    ("/signals", {}),
    ("/signals", {"instrument": BTC.id, "kind": "rsi"}),
    ("/signals/latest", {}),
    ("/signals/revisions", {}),
    ("/signals/outcomes", {}),
    ("/signals/performance", {}),
    ("/views", {"asset_id": "bitcoin"}),
    ("/views/latest", {}),
    ("/factors", {"factor": "size"}),
    ("/portfolios", {"portfolio": PORTFOLIO}),
    (f"/portfolios/{PORTFOLIO}/weights", {}),
    ("/portfolios/weights/latest", {}),
    ("/information_coefficients", {}),
    ("/paper_equity", {}),
]


@pytest.mark.parametrize(("path", "asked"), EMPTY)
def test_where_nothing_was_computed_yet_there_is_an_empty_page_that_is_not_stale(stand, path, asked):
    page = stand.page(path, **asked)
    assert (page["data"], page["next"], page["as_of"], page["stale"]) == ([], None, None, False)


@pytest.mark.parametrize(
    ("path", "asked", "status"),
    [
        ("/trends", {"subject": "nobody"}, (404, "NOT_FOUND")),
        ("/trends", {"subject": "okx:NOPE-USDT:perp"}, (404, "NOT_FOUND")),
        ("/trends/latest", {"subject": "bitcoin,nobody"}, (404, "NOT_FOUND")),
        ("/derived_metrics", {"instrument": "okx:NOPE-USDT:perp"}, (404, "NOT_FOUND")),
        ("/derived_metrics/latest", {"instrument": "okx:NOPE-USDT:perp"}, (404, "NOT_FOUND")),
        ("/signals", {"instrument": "okx:NOPE-USDT:perp"}, (404, "NOT_FOUND")),
        ("/ranks", {"asset_id": "nobody"}, (404, "NOT_FOUND")),
        ("/ranks/days", {"asset_id": "nobody"}, (404, "NOT_FOUND")),
        ("/views", {"asset_id": "nobody"}, (404, "NOT_FOUND")),
        ("/portfolios/nobody/weights", {}, (404, "NOT_FOUND")),
        ("/portfolios", {"portfolio": "nobody"}, (404, "NOT_FOUND")),
        ("/paper_equity", {"portfolio": "nobody"}, (404, "NOT_FOUND")),
        ("/signals", {"instrument": "BTC"}, (400, "INVALID_SYMBOL")),
        ("/signals", {"interval": "2h"}, (400, "INVALID_INTERVAL")),
        ("/signals", {"kind": "moon"}, (400, "INVALID_PARAMETER")),
        ("/signals", {"direction": 2}, (400, "INVALID_PARAMETER")),
        ("/signals/outcomes", {"horizon": 0}, (400, "INVALID_PARAMETER")),
        ("/signals/outcomes", {"status": "pending"}, (400, "INVALID_PARAMETER")),
        ("/derived_metrics/latest", {"measure": "moon"}, (400, "INVALID_PARAMETER")),
        ("/derived_metrics/latest", {"span": "15 minutes"}, (400, "INVALID_PARAMETER")),
        ("/trends", {}, (400, "INVALID_PARAMETER")),
        ("/trends/latest", {"of": "coins"}, (400, "INVALID_PARAMETER")),
        ("/factors", {"factor": "moon"}, (400, "INVALID_PARAMETER")),
        ("/ranks/days", {"day": "soon"}, (400, "INVALID_PARAMETER")),
        ("/ranks", {"asset_id": "bitcoin", "source": "evil"}, (400, "INVALID_PARAMETER")),
        ("/breadth", {"unheard_of": 1}, (400, "INVALID_PARAMETER")),
        ("/breadth", {"limit": 5001}, (400, "INVALID_PARAMETER")),
    ],
)
def test_a_name_or_value_that_is_none_is_refused(stand, path, asked, status):
    stand.find(portfolio_runs=[made.run()])
    assert stand.refusal(path, **asked) == status


def test_unknown_subjects_and_portfolios_are_told_by_name(stand):
    stand.find(portfolio_runs=[made.run()])
    error = stand.get("/trends/latest", subject=f"bitcoin,foo,{BTC.id},bar").json()["error"]
    assert error["details"] == {"subject": ["foo", "bar"]}
    error = stand.get("/portfolios/foo/weights").json()["error"]
    assert error["details"] == {"portfolio": ["foo"], "known": [PORTFOLIO]}


def test_a_measure_near_a_known_one_is_named(stand):
    error = stand.get("/derived_metrics/latest", measure="fundin").json()["error"]
    assert "funding" in error["details"]["near"]


# --------------------------------------------------------------------------- choices


def test_the_newest_trends_of_all_assets_of_one_span_come_in_one_request(stand):
    rows = [
        made.trend(subject, span, at, change=change)
        for subject, span, at, change in (
            ("bitcoin", "30d", NOON - DAY, 0.1),
            ("bitcoin", "30d", NOON, 0.2),
            ("bitcoin", "7d", NOON, 0.3),
            ("ethereum", "30d", NOON, 0.4),
            (BTC.id, "30d", NOON, 0.5),
        )
    ]
    stand.find(trends=rows)
    newest = stand.page("/trends/latest", span="30d", of="assets")
    assert [(row["subject"], row["change"]) for row in newest["data"]] == [("bitcoin", 0.2), ("ethereum", 0.4)]
    assert [row["subject"] for row in stand.page("/trends/latest", of="instruments")["data"]] == [BTC.id]
    both = stand.page("/trends/latest", subject=f"bitcoin,{BTC.id}")["data"]
    assert [(row["subject"], row["span"]) for row in both] == [("bitcoin", "30d"), ("bitcoin", "7d"), (BTC.id, "30d")]
    history = stand.page("/trends", subject="bitcoin", span="30d")["data"]
    assert [row["change"] for row in history] == [0.2, 0.1]


def test_trends_of_the_day_before_yesterday_are_stale(stand):
    stand.find(trends=[made.trend("bitcoin"), made.trend("ethereum", as_of=NOON - 3 * DAY)])
    page = stand.page("/trends/latest")
    assert [(row["subject"], row["stale"]) for row in page["data"]] == [("bitcoin", False), ("ethereum", True)]
    assert page["stale"] is False
    assert stand.page("/trends", subject="ethereum")["stale"] is True
    assert stand.page("/trends", subject="ethereum", to="2026-01-29T00:00:00Z")["stale"] is False


def test_metrics_are_chosen_by_measure_and_span_and_merged_by_time(stand):
    minute = timedelta(minutes=1)
    rows = [
        made.metric(measure=measure, span=span, at=NOON - ago * minute, value=float(n))
        for n, (measure, span, ago) in enumerate(
            [("price", "15m", 0), ("price", "15m", 2), ("price", "20", 1), ("volume", "15m", 1), ("volume", "20", 3)]
        )
    ]
    stand.find(derived_metrics=[*rows, made.metric(ETH, value=9.0)])

    def values(**asked):
        return [row["value"] for row in stand.all_pages("/derived_metrics", instrument=BTC.id, limit=1, **asked)]

    assert values() == [0.0, 3.0, 2.0, 1.0, 4.0]
    assert values(order="oldest") == [4.0, 1.0, 2.0, 3.0, 0.0]
    assert values(measure="price") == [0.0, 2.0, 1.0]
    assert values(span="15m") == [0.0, 3.0, 1.0]
    assert values(measure="volume", span="20") == [4.0]
    assert values(from_="2026-01-31T11:58:00Z", to="2026-01-31T12:00:00Z") == [3.0, 2.0, 1.0]

    def newest(**asked):
        rows = stand.all_pages("/derived_metrics/latest", limit=1, **asked)
        return [(row["instrument"][4:7], row["measure"], row["span"], row["value"]) for row in rows]

    assert newest() == [
        ("BTC", "price", "15m", 0.0),
        ("BTC", "price", "20", 2.0),
        ("BTC", "volume", "15m", 3.0),
        ("BTC", "volume", "20", 4.0),
        ("ETH", "price", "15m", 9.0),
    ]
    assert newest(span="20") == [("BTC", "price", "20", 2.0), ("BTC", "volume", "20", 4.0)]
    assert newest(measure="price", span="15m") == [("BTC", "price", "15m", 0.0), ("ETH", "price", "15m", 9.0)]
    assert newest(instrument=ETH.id) == [("ETH", "price", "15m", 9.0)]
    assert newest(venue="kraken") == []


def test_metrics_of_several_months_are_one_series(stand):
    times = [NOON, NOON - 20 * DAY, NOON - 40 * DAY]
    stand.find(derived_metrics=[made.metric(at=at, value=float(n)) for n, at in enumerate(times)])
    rows = stand.all_pages("/derived_metrics", instrument=BTC.id, limit=1)
    assert [row["value"] for row in rows] == [0.0, 1.0, 2.0]
    assert [row["value"] for row in stand.page("/derived_metrics/latest")["data"]] == [0.0]


def test_ranks_of_a_day_come_by_rank_with_entries_and_exits(stand):
    rows = [
        made.ranked("ethereum", 2, entered=True),
        made.ranked("bitcoin", 1),
        made.ranked("gone", None, rank=None, observed_at=None, dropped=True, market_cap_usd=None, price_usd=None),
        made.ranked("bitcoin", 2, day=MIDNIGHTS - DAY),
        made.ranked("ethereum", 1, day=MIDNIGHTS - DAY),
    ]
    stand.find(rank_history=rows)

    def ranks(**asked):
        return [(row["asset_id"], row["cap_rank"]) for row in stand.all_pages("/ranks/days", limit=1, **asked)]

    assert ranks() == [("bitcoin", 1), ("ethereum", 2), ("gone", None)]
    assert ranks(day="2026-01-31T17:00:00Z") == ranks()
    assert ranks(day="2026-01-30") == [("ethereum", 1), ("bitcoin", 2)]
    assert ranks(day="2020-01-01") == []
    assert ranks(entered="true") == [("ethereum", 2)]
    assert ranks(dropped="true") == [("gone", None)]
    assert [row["cap_rank"] for row in stand.page("/ranks", asset_id="bitcoin")["data"]] == [1, 2]
    assert stand.page("/ranks/days")["source"] == ["coingecko"]


def test_pages_of_the_newest_day_stay_at_it_when_another_begins(stand):
    stand.find(rank_history=[made.ranked("bitcoin", 1), made.ranked("ethereum", 2)])
    first = stand.page("/ranks/days", limit=1)
    stand.find(
        rank_history=[made.ranked("solana", 1, day=MIDNIGHTS + DAY), made.ranked("bitcoin", 2, day=MIDNIGHTS + DAY)]
    )
    second = stand.page("/ranks/days", limit=1, cursor=first["next"])
    assert [(row["asset_id"], row["day"]) for row in second["data"]] == [("ethereum", MIDNIGHT)]
    assert second["next"] is None
    other_day = stand.refusal("/ranks/days", limit=1, cursor=first["next"], day="2026-01-30")
    assert other_day == (400, "INVALID_PARAMETER")


def test_signals_of_all_instruments_and_of_one_come_by_the_bar_that_gave_them(stand):
    hour = timedelta(hours=1)
    rsi = {"name": "rsi_14", "kind": "rsi"}
    rows = [
        made.signal(BTC, NOON, price=1.0),
        made.signal(BTC, NOON - 2 * hour, price=2.0, direction=-1),
        made.signal(BTC, NOON - hour, price=3.0, **rsi),
        made.signal(BTC, NOON - hour, price=4.0, interval="1d"),
        made.signal(BTC, NOON - 3 * hour, price=5.0, version=2),
        made.signal(ETH, NOON - hour, price=6.0),
    ]
    stand.find(signals=rows)

    def prices(**asked):
        return [row["price"] for row in stand.all_pages("/signals", limit=1, **asked)]

    assert prices(instrument=BTC.id) == [1.0, 3.0, 4.0, 2.0, 5.0]
    assert prices(instrument=BTC.id, order="oldest") == [5.0, 2.0, 4.0, 3.0, 1.0]
    assert prices(instrument=BTC.id, interval="1h") == [1.0, 3.0, 2.0, 5.0]
    assert prices(instrument=BTC.id, kind="rsi") == [3.0]
    assert prices(instrument=BTC.id, name="ema_cross_12_26", direction=-1) == [2.0]
    assert prices(instrument=BTC.id, from_="2026-01-31T11:00:00Z", to="2026-01-31T12:00:00Z") == [3.0, 4.0]
    assert prices() == [1.0, 6.0, 3.0, 4.0, 2.0, 5.0]
    assert prices(order="oldest") == prices()[::-1]
    assert prices(kind="rsi") == [3.0]
    assert prices(direction=-1) == [2.0]
    assert prices(interval="1d") == [4.0]
    assert prices(name="rsi_14", to="2026-01-31T11:00:00Z") == []
    newest = stand.all_pages("/signals/latest", limit=1)
    assert [row["price"] for row in newest] == [4.0, 1.0, 5.0, 3.0, 6.0]
    assert [row["price"] for row in stand.page("/signals/latest", kind="rsi")["data"]] == [3.0]
    assert [row["price"] for row in stand.page("/signals/latest", instrument=ETH.id)["data"]] == [6.0]


def test_a_cursor_of_all_instruments_is_none_of_one(stand):
    stand.find(signals=[made.signal(BTC), made.signal(BTC, NOON - DAY), made.signal(ETH)])
    cursor = stand.page("/signals", limit=1)["next"]
    assert stand.refusal("/signals", instrument=BTC.id, cursor=cursor) == (400, "INVALID_PARAMETER")


def test_revisions_and_outcomes_are_chosen_by_what_they_say(stand):
    stand.find(
        signal_revisions=[made.revision(), made.revision(number=2, cause="code"), made.revision(ETH, strength=-0.5)],
        signal_outcomes=[
            made.outcome(horizon=bars, status=status, forward_return=gain)
            for bars, status, gain in ((1, "done", 0.01), (5, "hole", None), (20, "done", 0.03))
        ],
    )

    def numbers(**asked):
        rows = stand.all_pages("/signals/revisions", limit=1, **asked)
        return [(row["instrument"][4:7], row["revision"]) for row in rows]

    assert sorted(numbers()) == [("BTC", 1), ("BTC", 2), ("ETH", 1)]
    assert numbers(instrument=BTC.id) == [("BTC", 2), ("BTC", 1)]
    assert numbers(cause="code") == numbers(instrument=BTC.id, cause="code") == [("BTC", 2)]

    def horizons(**asked):
        rows = stand.all_pages("/signals/outcomes", limit=1, **asked)
        return [row["horizon"] for row in rows]

    assert horizons() == horizons(instrument=BTC.id) == [20, 5, 1]
    assert horizons(status="done") == horizons(instrument=BTC.id, status="done") == [20, 1]
    assert horizons(horizon=5) == horizons(instrument=BTC.id, horizon=5) == [5]
    assert horizons(instrument=ETH.id) == []


def test_performance_counts_hits_of_signals_with_a_direction_and_leaves_holes_out(stand):
    hour = timedelta(hours=1)
    told = [(0.04, True), (-0.02, False), (0.01, True), (0.01, True)]
    rows = [made.outcome(bar_end=NOON - n * hour, forward_return=gain, hit=hit) for n, (gain, hit) in enumerate(told)]
    nothing = {"forward_return": None, "hit": None}
    rows += [
        made.outcome(bar_end=NOON - 4 * hour, status="hole", entry_price=None, exit_price=None, **nothing),
        made.outcome(bar_end=NOON - 5 * hour, direction=0, **nothing),
        made.outcome(ETH, horizon=20, forward_return=-0.5, hit=False),
        made.outcome(ETH, horizon=1, status="hole", **nothing),
        made.outcome(bar_end=NOON - 100 * DAY, forward_return=9.0),
    ]
    stand.find(signal_outcomes=rows)
    page = stand.page("/signals/performance")
    assert [row["horizon"] for row in page["data"]] == [1, 5, 20]
    assert page["data"][1] == {
        "interval": "1h",
        "kind": "ema_cross",
        "name": "ema_cross_12_26",
        "horizon": 5,
        "outcomes": 4,
        "hits": 3,
        "hit_rate": 0.75,
        "mean_return": pytest.approx(0.01),
        "holes": 1,
        "first_bar_end": "2026-01-31T07:00:00.000Z",
        "last_bar_end": T,
    }
    only_holes = page["data"][0]
    assert (only_holes["outcomes"], only_holes["hit_rate"], only_holes["mean_return"]) == (0, None, None)
    assert (page["data"][2]["hits"], page["data"][2]["hit_rate"]) == (0, 0.0)
    long = stand.page("/signals/performance", horizon=5, from_="2025-10-01T00:00:00Z")["data"]
    assert [row["outcomes"] for row in long] == [5]
    assert stand.page("/signals/performance", to="2026-01-31T12:00:00Z", horizon=20)["data"] == []
    assert len(stand.all_pages("/signals/performance", limit=1)) == 3
    assert stand.page("/signals/performance", kind="rsi")["data"] == []


@pytest.mark.parametrize(
    "bounds",
    [
        {"from_": "2024-01-01T00:00:00Z"},
        {"from_": "2025-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"},
        {"from_": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
    ],
)
def test_performance_of_more_than_a_year_is_refused(stand, bounds):
    assert stand.refusal("/signals/performance", **bounds) == (400, "INVALID_PARAMETER")


def test_performance_before_all_times_is_empty(stand):
    assert stand.page("/signals/performance", to="0001-01-01T00:00:01Z")["data"] == []


def test_the_newest_views_come_by_rank_and_only_of_the_newest_moment(stand):
    stand.find(
        asset_views=[
            made.view("ethereum", 1, score=0.9),
            made.view("bitcoin", 2),
            made.view("solana", None, zscore=None),
            made.view("polkadot", 1, NOON - DAY),
        ]
    )
    rows = stand.all_pages("/views/latest", limit=1)
    assert [(row["asset_id"], row["symbol"], row["rank"]) for row in rows] == [
        ("ethereum", "ETH", 1),
        ("bitcoin", "BTC", 2),
        ("solana", None, None),
    ]
    assert [row["asset_id"] for row in stand.page("/views/latest", asset_id="bitcoin")["data"]] == ["bitcoin"]
    assert rows[0]["members"] == {"okx:BTC-USDT:perp/1h/ema_cross_12_26": 0.75}


def test_the_newest_weights_are_those_of_the_last_run_that_was_not_refused(stand):
    stand.find(
        portfolio_runs=[
            made.run(NOON, state="refused", reason="a market cap is missing", assets=None),
            made.run(NOON - DAY),
            made.run(NOON - 2 * DAY),
            made.run(NOON - DAY, "another"),
        ],
        portfolio_weights=[
            made.weight("ethereum", 0.3, NOON - DAY),
            made.weight("bitcoin", 0.7, NOON - DAY),
            made.weight("bitcoin", 1.0, NOON - 2 * DAY),
            made.weight("solana", 1.0, NOON - DAY, "another"),
        ],
    )
    rows = stand.all_pages("/portfolios/weights/latest", limit=1)
    assert [(row["portfolio"], row["asset_id"], row["symbol"], row["weight"]) for row in rows] == [
        ("another", "solana", None, 1.0),
        (PORTFOLIO, "bitcoin", "BTC", 0.7),
        (PORTFOLIO, "ethereum", "ETH", 0.3),
    ]
    one = stand.page("/portfolios/weights/latest", portfolio=PORTFOLIO, asset_id="bitcoin")["data"]
    assert [row["weight"] for row in one] == [0.7]
    states = [
        (row["as_of"][:10], row["state"], row["reason"])
        for row in stand.page("/portfolios", portfolio=PORTFOLIO)["data"]
    ]
    assert states[:2] == [("2026-01-31", "refused", "a market cap is missing"), ("2026-01-30", "ok", "")]
    assert [row["state"] for row in stand.page("/portfolios", state="refused")["data"]] == ["refused"]
    history = stand.all_pages(f"/portfolios/{PORTFOLIO}/weights", limit=1)
    assert [(row["as_of"][8:10], row["asset_id"]) for row in history] == [
        ("30", "ethereum"),
        ("30", "bitcoin"),
        ("29", "bitcoin"),
    ]
    assert stand.page(f"/portfolios/{PORTFOLIO}/weights", to="2026-01-30T00:00:00Z")["count"] == 1


def test_a_cursor_of_one_portfolio_is_none_of_another(stand):
    stand.find(
        portfolio_runs=[made.run(), made.run(portfolio="another")],
        portfolio_weights=[made.weight(), made.weight("ethereum", 0.3)],
    )
    cursor = stand.page(f"/portfolios/{PORTFOLIO}/weights", limit=1)["next"]
    assert stand.refusal("/portfolios/another/weights", cursor=cursor) == (400, "INVALID_PARAMETER")


def test_small_tables_are_paged_by_time(stand):
    stand.find(
        breadth=[made.breadth(span, at) for span in ("7d", "30d") for at in (NOON, NOON - DAY)],
        factor_returns=[made.factor(name, day) for name in ("size", "market") for day in (MIDNIGHTS, MIDNIGHTS - DAY)],
        information_coefficients=[made.coefficient(at, bars) for at in (NOON, NOON - DAY) for bars in (1, 5)],
        paper_equity=[made.equity(day) for day in (MIDNIGHTS, MIDNIGHTS - DAY)],
    )
    spans = [(row["as_of"][8:10], row["span"]) for row in stand.all_pages("/breadth", limit=1)]
    assert spans == [("31", "7d"), ("31", "30d"), ("30", "7d"), ("30", "30d")]
    assert stand.page("/breadth", span="7d")["count"] == 2
    factors = [(row["day"][8:10], row["factor"]) for row in stand.all_pages("/factors", limit=1)]
    assert factors == [("31", "size"), ("31", "market"), ("30", "size"), ("30", "market")]
    assert stand.page("/factors", factor="market")["count"] == 2
    found = [(row["as_of"][8:10], row["horizon"]) for row in stand.all_pages("/information_coefficients", limit=1)]
    assert found == [("31", 5), ("31", 1), ("30", 5), ("30", 1)]
    assert stand.page("/information_coefficients", horizon=1)["count"] == 2
    assert [row["day"][8:10] for row in stand.all_pages("/paper_equity", limit=1)] == ["31", "30"]


def test_a_factor_without_a_value_says_why(stand):
    stand.find(factor_returns=[made.factor(value=None, long_assets=None, short_assets=None, reason="too few assets")])
    row = stand.page("/factors")["data"][0]
    assert (row["value"], row["reason"]) == (None, "too few assets")


@pytest.mark.parametrize("path", ["/signals", "/views/latest", "/derived_metrics/latest"])
def test_rows_come_as_csv_and_arrow_too(stand, path):
    stand.find(signals=[made.signal()], asset_views=[made.view()], derived_metrics=[made.metric()])
    row = stand.page(path)["data"][0]
    table = pa.ipc.open_stream(stand.get(path, format="arrow").content).read_all()
    assert table.column_names == list(row)
    assert table.num_rows == 1
    lines = list(csv.DictReader(io.StringIO(stand.get(path, format="csv").text)))
    assert [list(line) for line in lines] == [list(row)]


def test_instruments_that_nothing_was_computed_of_are_passed_over(stand):
    stand.write(batch(listing(perp("AAA")), dataset=Dataset.INSTRUMENTS))
    stand.find(derived_metrics=[made.metric()], signals=[made.signal()])
    assert stand.page("/derived_metrics/latest")["count"] == 1
    assert stand.page("/signals/latest")["count"] == 1
    assert stand.page("/derived_metrics/latest", instrument="okx:AAA-USDT:perp")["data"] == []

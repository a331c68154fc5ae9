"""GET /api/ohlcv: what comes from the database, what is asked for, and what stands in."""

from datetime import timedelta

import pytest

from collector.clock import to_millis
from collector.records import Dataset, Interval
from tests.api.unified_stand import Counting, Stock, application, bar, client_of, coin_row, opens_before
from tests.unit.cycle_rig import listed, perpetual

H1, M1, M5, M15, H4, D1, W1 = Interval.H1, Interval.M1, Interval.M5, Interval.M15, Interval.H4, Interval.D1, Interval.W1


@pytest.fixture
def database(emptied):
    return emptied


@pytest.fixture
def stock(database, clock):
    return Stock(database, clock.now())


def asking(database, clock, live, **settings):
    return client_of(application(database, live, clock, **settings))


def get(client, status=200, **params):
    response = client.get("/api/ohlcv", params={"symbol": "BTC", "limit": 3, **params})
    assert response.status_code == status, response.text
    return response.json()


def hours_of(job, clock, price=500):
    """Answer a job for hourly candles with the last three bars of whatever instrument it names."""
    (instrument,) = job.instruments
    return [bar(instrument, job.interval, at, price + n, 7) for n, at in enumerate(opens_before(clock.now(), H1, 3))]


def test_young_whole_bars_of_the_database_are_given_and_nobody_is_asked(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    opens = opens_before(clock.now(), H1, 5)
    stock.bars(instrument, H1, opens)
    live = Counting()
    told = get(asking(database, clock, live))
    # bars 2, 3 and 4 of five: opens 102, 103, 104
    assert told["data"] == [
        {
            "timestamp": to_millis(opens[n]),
            "open": 100 + n,
            "high": 102 + n,
            "low": 99 + n,
            "close": 101 + n,
            "volume": 1 + n,
        }
        for n in (2, 3, 4)
    ]
    assert (told["source"], told["stale"], told["count"]) == ("binance", False, 3)
    assert told["detail"] == {"instrument": "binance_futures:BTC-USDT:perp", "quote": "USDT", "from": "database"}
    assert told["asOf"] == "2026-03-11T14:00:00.000Z"  # the end of the bar that opened at 13:00
    assert not live.asked


def test_bars_that_another_venue_gave_for_the_series_name_it(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    first, *rest = opens_before(clock.now(), H1, 3)
    stock.bars(instrument, H1, [first], source="kraken")
    stock.bars(instrument, H1, rest)
    assert get(asking(database, clock, Counting()))["source"] == "binance+kraken"


def test_bars_older_than_their_time_are_asked_for_anew(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    stock.bars(instrument, H1, opens_before(clock.now() - timedelta(hours=2), H1, 3))
    live = Counting(answer=lambda job: hours_of(job, clock))
    told = get(asking(database, clock, live))
    assert [row["open"] for row in told["data"]] == [500, 501, 502]
    assert (told["detail"]["from"], told["stale"]) == ("provider", False)


def test_the_newest_bar_may_be_late_by_as_long_as_candles_are_fresh(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    stock.bars(instrument, H1, opens_before(clock.now(), H1, 3))  # the last one ended at 14:00
    clock.advance(22 * 60 + 18 + 299)  # 15:04:59: the next one ended less than 300 s ago
    live = Counting()
    told = get(asking(database, clock, live))
    assert (told["stale"], told["detail"]["from"]) == (False, "database")
    assert not live.asked
    clock.advance(2)
    get(asking(database, clock, live))
    assert live.asked["binance_futures", Dataset.CANDLES] == 1


@pytest.mark.parametrize(("behind", "asked"), [(0, 0), (1, 0), (2, 1), (3, 1)])
def test_bars_of_a_minute_may_be_one_behind_and_no_more(database, clock, stock, behind, asked):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    stock.bars(instrument, M1, opens_before(clock.now() - behind * M1.width, M1, 3))
    live = Counting()
    told = get(asking(database, clock, live), interval="1m")
    assert live.asked["binance_futures", Dataset.CANDLES] == asked
    assert told["stale"] is bool(asked)  # nobody answered


def test_bars_of_a_minute_have_three_seconds_to_arrive(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    stock.bars(instrument, M1, opens_before(clock.now(), M1, 3))  # the last one ended at 14:37
    clock.advance(18 + 60 + 2)  # 14:39:02: two more have ended, one just now
    live = Counting()
    get(asking(database, clock, live), interval="1m")
    assert not live.asked


def test_a_hole_is_asked_for_and_filled_from_the_venue(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    first, _, last = opens_before(clock.now(), H1, 3)
    stock.bars(instrument, H1, [first, last])
    live = Counting(answer=lambda job: hours_of(job, clock)[1:2])  # the venue has the missing one only
    told = get(asking(database, clock, live))
    assert [row["open"] for row in told["data"]] == [100, 501, 101]


def test_with_nobody_to_ask_a_series_with_a_hole_is_better_than_nothing(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    first, _, last = opens_before(clock.now(), H1, 3)
    stock.bars(instrument, H1, [first, last])
    told = get(asking(database, clock, Counting()))
    assert (told["count"], told["stale"]) == (2, True)


def test_what_an_outage_cut_short_is_stale_and_whole_again_when_somebody_answers(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    stock.bars(instrument, H1, opens_before(clock.now(), H1, 2))
    live = Counting()
    client = asking(database, clock, live)
    told = get(client)
    assert (told["count"], told["stale"], told["detail"]["from"]) == (2, True, "database")
    live.answer = lambda job: hours_of(job, clock)
    clock.advance(10)  # far less than the 300 s of a fresh answer
    told = get(client)
    assert (told["count"], told["stale"], told["detail"]["from"]) == (3, False, "provider")


def test_a_market_that_is_known_to_be_young_is_whole_with_all_the_bars_there_are(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    opens = opens_before(clock.now(), H1, 2)
    began = listed(instrument, instrument.venue, clock.now(), listed_at=opens[0] - timedelta(minutes=20))
    stock.put(began, source=instrument.venue, dataset=Dataset.TICKERS)
    stock.bars(instrument, H1, opens)
    live = Counting()
    told = get(asking(database, clock, live))
    assert (told["count"], told["stale"]) == (2, False)
    assert not live.asked


def test_a_young_market_whose_first_bar_is_missing_is_not_whole(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    opens = opens_before(clock.now(), H1, 3)
    stock.put(listed(instrument, instrument.venue, clock.now(), listed_at=opens[0]), source=instrument.venue)
    stock.bars(instrument, H1, opens[2:])
    assert get(asking(database, clock, Counting()))["stale"] is True


def test_a_listing_younger_than_the_stored_bars_tells_nothing_of_their_beginning(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    opens = opens_before(clock.now(), H1, 2)
    stock.put(listed(instrument, instrument.venue, clock.now(), listed_at=opens[1]), source=instrument.venue)
    stock.bars(instrument, H1, opens)
    assert get(asking(database, clock, Counting()))["stale"] is True


def test_an_asset_that_no_venue_lists_is_not_found(database, clock, stock):
    stock.asset("BTC", "bitcoin", 1, venues=("binance_futures", "kraken"))
    stock.put(coin_row("tether", "USDT", "Tether", clock.now()), dataset=Dataset.ASSET_DETAILS)
    live = Counting("binance_futures", "kraken")
    told = get(asking(database, clock, live, symbols=("BTC", "USDT")), symbol="USDT", status=404)
    assert told["error"]["code"] == "NOT_FOUND"
    assert told["error"]["details"] == {
        "binance_futures": "lists no USDT against USD, USDT, USDC",
        "kraken": "lists no USDT against USD, USDT, USDC",
    }
    assert told["error"]["retryAfter"] is None
    assert not live.asked


def test_an_asset_that_no_venue_lists_by_its_own_list_is_not_found(database, clock):
    live = Counting(answer=lambda job: [listed(perpetual("BTC", job.source), job.source, clock.now())])
    told = get(asking(database, clock, live, symbols=("USDT",)), symbol="USDT", status=404)
    assert told["error"]["code"] == "NOT_FOUND"


def test_while_the_list_of_one_venue_is_unknown_an_asset_may_still_be_there(database, clock, stock):
    stock.asset("BTC", "bitcoin", 1)  # the list of this venue is stored; the other does not answer
    live = Counting("binance_futures", "kraken")
    told = get(asking(database, clock, live, symbols=("USDT",)), symbol="USDT", status=503)
    assert told["error"]["code"] == "PROVIDER_ERROR"
    assert told["error"]["details"]["kraken"] == "no route to kraken"


def test_with_nobody_to_ask_old_bars_are_given_and_called_stale(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    stock.bars(instrument, H1, opens_before(clock.now() - timedelta(days=3), H1, 3))
    told = get(asking(database, clock, Counting()))
    assert (told["count"], told["stale"], told["asOf"]) == (3, True, "2026-03-08T14:00:00.000Z")


def test_the_freshest_venue_stands_in(database, clock, stock):
    futures, okx = stock.asset("BTC", "bitcoin", 1, venues=("binance_futures", "okx"))
    stock.bars(futures, H1, opens_before(clock.now() - timedelta(days=3), H1, 3))
    stock.bars(okx, H1, opens_before(clock.now() - timedelta(days=1), H1, 3))
    told = get(asking(database, clock, Counting()))
    assert (told["source"], told["stale"]) == ("okx", True)


def test_a_kept_answer_stands_in_marked_stale_once_its_time_is_over(database, clock):
    def answer(job):
        lists = [listed(perpetual("BTC", job.source), job.source, clock.now())]
        return hours_of(job, clock) if job.dataset is Dataset.CANDLES else lists

    live = Counting(answer=answer)
    client = asking(database, clock, live)
    before = get(client)
    assert before["stale"] is False
    live.answer = None
    clock.advance(7_200)
    after = get(client)
    assert after == {**before, "stale": True}


@pytest.mark.parametrize(("wanted", "smaller", "parts"), [(M5, M1, 5), (M15, M1, 15), (H4, H1, 4), (W1, D1, 7)])
def test_larger_bars_are_made_of_smaller_ones(database, clock, stock, wanted, smaller, parts):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    (start,) = opens_before(clock.now(), wanted, 1)
    stock.bars(instrument, smaller, [start + n * smaller.width for n in range(parts)])
    told = get(asking(database, clock, Counting()), interval=str(wanted), limit=1)
    # the n-th part opens at 100 + n with high + 2, low - 1, close + 1 and volume 1 + n
    assert told["data"] == [
        {
            "timestamp": to_millis(start),
            "open": 100,
            "high": 100 + parts - 1 + 2,
            "low": 99,
            "close": 100 + parts - 1 + 1,
            "volume": parts * (parts + 1) / 2,
        }
    ]
    assert told["stale"] is False


def test_a_bar_that_lacks_a_part_is_not_made(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    (start,) = opens_before(clock.now(), M5, 1)
    stock.bars(instrument, M1, [start + n * M1.width for n in (0, 1, 3, 4)])
    told = get(asking(database, clock, Counting()), interval="5m", limit=1, status=503)
    assert told["error"]["code"] == "PROVIDER_ERROR"


def test_an_unknown_volume_of_a_part_makes_the_sum_unknown(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    (start,) = opens_before(clock.now(), M5, 1)
    rows = [bar(instrument, M1, start + n * M1.width, 100, None if n == 2 else 1) for n in range(5)]
    stock.put(*rows, source="binance_futures", dataset=Dataset.CANDLES)
    told = get(asking(database, clock, Counting()), interval="5m", limit=1)
    assert told["data"][0]["volume"] is None


def test_a_market_of_a_thousand_coins_is_given_per_coin(database, clock, stock):
    (instrument,) = stock.asset("PEPE", "pepe", 30, base="1000PEPE", units=1000)
    stock.bars(instrument, H1, opens_before(clock.now(), H1, 1))
    told = get(asking(database, clock, Counting()), symbol="PEPE", limit=1)
    assert told["symbol"] == "PEPEUSDT"
    assert {name: told["data"][0][name] for name in ("open", "close", "volume")} == {
        "open": 0.1,
        "close": 0.101,
        "volume": 1000,
    }


def test_the_running_bar_is_never_given(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    opens = opens_before(clock.now(), H1, 3)
    stock.bars(instrument, H1, [*opens, opens[-1] + H1.width])
    told = get(asking(database, clock, Counting()))
    assert told["data"][-1]["timestamp"] == to_millis(opens[-1])


def test_an_answer_is_fresh_until_the_next_bar_is_there(database, clock, stock):
    (instrument,) = stock.asset("BTC", "bitcoin", 1)
    stock.bars(instrument, M1, opens_before(clock.now(), M1, 3))
    client = asking(database, clock, Counting())
    first = client.get("/api/ohlcv", params={"symbol": "BTC", "interval": "1m", "limit": 3})
    assert first.headers["cache-control"] == "max-age=21"  # 14:37:42 to 14:38:00, and three seconds to settle
    hourly = client.get("/api/ohlcv", params={"symbol": "BTC", "interval": "1d", "limit": 3})
    assert hourly.status_code == 503  # nothing stored, nobody to ask


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "NOPE"}, "INVALID_SYMBOL"),
        ({"symbol": ""}, "INVALID_SYMBOL"),
        ({"symbol": "BTC", "interval": "2h"}, "INVALID_INTERVAL"),
        ({"symbol": "BTC", "interval": ""}, "INVALID_INTERVAL"),
        ({"symbol": "BTC", "limit": 0}, "INVALID_PARAMETER"),
        ({"symbol": "BTC", "limit": 1001}, "INVALID_PARAMETER"),
        ({"symbol": "BTC", "limit": "many"}, "INVALID_PARAMETER"),
        ({}, "INVALID_SYMBOL"),
    ],
)
def test_what_cannot_be_asked_is_refused(database, clock, params, code):
    response = asking(database, clock, Counting()).get("/api/ohlcv", params=params)
    assert (response.status_code, response.json()["error"]["code"]) in {(400, code), (422, code)}


def test_nothing_stored_and_nobody_to_ask_is_an_error_with_a_reason_for_each(database, clock):
    response = asking(database, clock, Counting("binance_futures", "kraken", "coingecko")).get("/api/ohlcv?symbol=BTC")
    told = response.json()
    assert response.status_code == 503
    assert told["error"]["code"] == "PROVIDER_ERROR"
    assert told["error"]["details"] == {
        "binance_futures": "no route to binance_futures",
        "kraken": "no route to kraken",
    }
    assert (told["error"]["retryAfter"], response.headers["retry-after"]) == (7, "7")

"""The stream: new rows within a second of their commit, to who wants them, exactly once over a reconnection."""

import asyncio
import socket
import threading
from datetime import timedelta
from decimal import Decimal

import httpx2
import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from collector.api import fanout as fanout_module
from collector.api.errors import ApiError
from collector.api.events import Edition, Wish, spelled
from collector.api.fanout import A_CLIENT, QUEUE, Fanout, Reader
from collector.api.stream import Events as Answer
from collector.clock import SystemClock
from collector.records import Batch, Dataset, IndicatorBlock, Interval, Job
from collector.storage.database import Database
from collector.storage.news import Found, News, Position
from collector.storage.writer import Writer
from tests.api.streaming import parts_of, served, stream_app, wait_until
from tests.storage.samples import asset, candle, listing, perp, snapshot, ticker

CLOCK = SystemClock()
NOW = CLOCK.now().replace(second=0, microsecond=0)


def bar(minutes_ago=1, **more):
    opened = NOW - timedelta(minutes=minutes_ago)
    times = {"open_time": opened, "observed_at": opened + timedelta(minutes=1), "received_at": NOW}
    return candle(**{**times, **more})


def batch(*records, dataset=Dataset.CANDLES, interval=Interval.M1):
    return Batch(job=Job(source="okx", dataset=dataset, interval=interval), records=records, state="ok")


def tickers(*bases, price="100"):
    rows = [ticker(perp(base), price, at=NOW) for base in bases]
    return batch(*rows, dataset=Dataset.TICKERS, interval=None)


@pytest.fixture
def opened(migrated_url):
    database = Database(migrated_url, clock=CLOCK, read_only=True)
    yield database
    database.close()


@pytest.fixture
def api(opened):
    with served(stream_app(parts_of(opened))) as running:
        yield running


@pytest.fixture
def collector(database):
    """The writer of a collector and a cycle of it."""
    writer = Writer(database)
    cycle = writer.begin_cycle("market", NOW, instance="t", folder="", simulated=True)

    class Stored:
        def __init__(self):
            self.cycle = cycle

        def write(self, *batches):
            return writer.write(self.cycle, batches)

        def next_cycle(self):
            self.cycle = writer.begin_cycle("market", NOW, instance="t", folder="", simulated=True)

        indicators = staticmethod(lambda *blocks: writer.write_indicators(cycle, blocks))

    return Stored()


def test_new_rows_come_within_a_second_of_their_commit(api, collector):
    with api.stream("kinds=candles,tickers") as events:
        ready = events.next()
        assert (ready.name, events.retry) == ("ready", 3000)
        assert ready.data == {"kinds": ["tickers", "candles"], "listening": True, "simulated": True}
        collector.write(batch(bar(1, close=Decimal("100.10"))), tickers("BTC"))
        committed = CLOCK.monotonic()
        first, second = events.next(), events.next()
        assert CLOCK.monotonic() - committed < 1
    assert (first.name, second.name) == ("tickers", "candles")
    assert first.place == ready.place  # only the last event of a commit is a place to go on from
    assert second.place.startswith(f"{collector.cycle}-")
    row = second.data.pop("rows")[0]
    assert second.data == {
        "kind": "candles",
        "source": "okx",
        "as_of": NOW.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "stale": False,
        "simulated": True,
        "count": 1,
        "left_out": 0,
    }
    assert (row["instrument"], row["interval"], row["close"], row["taker_buy_volume"]) == (
        "okx:BTC-USDT:perp",
        "1m",
        100.1,
        None,
    )
    assert row["cycle_id"] == collector.cycle


def test_the_answer_is_an_unpacked_stream_that_nobody_keeps(api):
    with api.stream() as events:
        headers = events.answer.headers
        assert events.answer.status_code == 200
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in headers
        assert len(events.next().data["kinds"]) == 11


def test_a_reader_gets_only_what_it_asked_for(api, collector):
    query = "kinds=candles,tickers,indicators&symbols=ETH/USDT,okx:sol-usdt:perp&interval=1h&numbers=string"
    with api.stream(query) as events:
        events.next()
        hour = NOW.replace(minute=0) - timedelta(hours=1)
        bars = [
            bar(instrument=perp("ETH")),
            bar(instrument=perp("ETH"), interval=Interval.H1, open_time=hour, observed_at=hour + timedelta(hours=1)),
            bar(interval=Interval.H1, open_time=hour, observed_at=hour + timedelta(hours=1)),
        ]
        collector.write(batch(bars[0]), batch(bars[1], interval=Interval.H1), batch(bars[2], interval=Interval.H1))
        candles = events.next()
        collector.write(tickers("BTC", "ETH", "SOL", price="100.500"))
        prices = events.next()
        values = {"columns": {"rsi_14": [float("nan")]}, "extra": {}, "warm": (False,), "open_times": (hour,)}
        collector.indicators(IndicatorBlock(instrument=perp("ETH"), interval=Interval.H1, **values))
        indicators = events.next()
    assert [(row["instrument"], row["interval"]) for row in candles.data["rows"]] == [("okx:ETH-USDT:perp", "1h")]
    assert [(row["base"], row["last_price"]) for row in prices.data["rows"]] == [("ETH", "100.500"), ("SOL", "100.500")]
    assert [row["rsi_14"] for row in indicators.data["rows"]] == [None]


def test_prices_of_assets_are_found_by_their_symbol(api, collector):
    with api.stream("kinds=markets&symbols=btc") as events:
        events.next()
        rows = (asset(at=NOW), asset("ethereum", "ETH", "Ethereum", at=NOW))
        prices = (snapshot(at=NOW), snapshot("ethereum", at=NOW))
        collector.write(batch(*rows, *prices, dataset=Dataset.MARKETS, interval=None))
        assert [row["asset_id"] for row in events.next().data["rows"]] == ["bitcoin"]


def test_a_reader_that_comes_back_gets_what_it_missed_exactly_once(api, collector):
    with api.stream("kinds=candles") as events:
        events.next()
        collector.write(batch(bar(9)), tickers("BTC"))
        place = events.next().place
    collector.write(batch(bar(8)), tickers("ETH"))
    collector.next_cycle()
    collector.write(batch(bar(7), bar(6)))
    headers = {"last-event-id": place}
    with api.stream("kinds=candles", **headers) as events:
        assert events.next().name == "ready"
        missed = events.next()
        collector.write(batch(bar(5)))
        live = events.next()
    times = [row["open_time"] for event in (missed, live) for row in event.data["rows"]]
    expected = [NOW - timedelta(minutes=minute) for minute in (8, 7, 6, 5)]
    assert times == [moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") for moment in expected]
    with api.stream("kinds=candles", **{"last-event-id": live.place}) as events:
        events.next()
        collector.write(batch(bar(4)))
        assert len(events.next().data["rows"]) == 1


@pytest.mark.parametrize("place", ["nonsense", "999999-1", f"1-{2**62}", "0-0", "1-1-1"])
def test_a_place_that_cannot_be_gone_on_from_is_answered_with_a_reset(api, collector, place):
    with api.stream("kinds=candles", **{"last-event-id": place}) as events:
        reset, before = events.until("reset")
        assert [event.name for event in before] == ["ready"]
        assert "read what you need anew" in reset.data["reason"]
        collector.write(batch(bar()))
        assert events.next().name == "candles"


def test_what_is_written_while_the_database_is_away_comes_when_it_is_back(api, collector, migrated_url):
    with api.stream("kinds=candles") as events:
        events.next()
        collector.write(batch(bar(3)))
        assert events.next().name == "candles"
        url = make_url(migrated_url).set(drivername="postgresql").render_as_string(hide_password=False)
        other = psycopg2.connect(url)
        other.autocommit = True
        with other.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%LISTEN%' "
                "AND datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert cursor.fetchall()
        other.close()
        collector.write(batch(bar(2)))
        assert [row["open_time"][14:16] for row in events.next().data["rows"]] == [f"{(NOW.minute - 2) % 60:02}"]
        wait_until(lambda: api.fanout.listening, "the connection")
        collector.write(batch(bar(1)))
        assert [row["open_time"][14:16] for row in events.next().data["rows"]] == [f"{(NOW.minute - 1) % 60:02}"]


def test_streams_end_within_a_second_when_the_server_stops(api):
    with api.stream() as events, api.stream() as other:
        assert events.next().name == other.next().name == "ready"
        seconds = []
        stopper = threading.Thread(target=lambda: seconds.append(api.stop()))
        stopper.start()
        end, _ = events.until("end")
        assert "server stops" in end.data["reason"]
        assert events.next() is None
        assert other.until("end")[0].data == end.data
        stopper.join()
    assert seconds[0] < 1.5  # the server itself looks every tenth of a second


def test_a_client_has_four_streams_at_most(api):
    with api.stream() as one, api.stream() as two, api.stream() as three, api.stream() as four:
        for events in (one, two, three, four):
            events.next()
        refused = httpx2.get(f"{api.url}/api/v1/stream")
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "RATE_LIMITED"
        assert int(refused.headers["retry-after"]) == 10
    wait_until(lambda: api.fanout.streams == 0, "the end of the streams")
    with api.stream() as events:
        assert events.next().name == "ready"
    assert A_CLIENT == 4


def test_all_together_have_as_many_streams_as_the_settings_say(opened):
    with served(stream_app(parts_of(opened, streams=1))) as api, api.stream() as events:
        events.next()
        assert httpx2.get(f"{api.url}/api/v1/stream").status_code == 429


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("kinds=candles,prices", "INVALID_PARAMETER"),
        ("interval=1h,2h", "INVALID_INTERVAL"),
        ("symbols=BTC%20X", "INVALID_SYMBOL"),
        ("symbols=" + ",".join(f"A{number}" for number in range(51)), "INVALID_PARAMETER"),
        ("numbers=words", "INVALID_PARAMETER"),
        ("limit=5", "INVALID_PARAMETER"),
        ("kinds=", "INVALID_PARAMETER"),
        ("kinds=candles,,tickers", "INVALID_PARAMETER"),
        ("kinds=candles&kinds=tickers", "INVALID_PARAMETER"),
        ("kinds=candles%0A", "INVALID_PARAMETER"),
        ("interval=", "INVALID_INTERVAL"),
        ("symbols=", "INVALID_SYMBOL"),
        ("symbols=BTC%00", "INVALID_SYMBOL"),
        ("symbols=BT%1BC", "INVALID_SYMBOL"),
        ("symbols=BTC%0D%0A", "INVALID_SYMBOL"),
    ],
)
def test_a_wish_that_cannot_be_understood_is_refused_at_once(api, query, code):
    refused = httpx2.get(f"{api.url}/api/v1/stream?{query}")
    assert refused.status_code in (400, 422)
    assert refused.json()["error"]["code"] == code


def test_a_symbol_that_nobody_lists_is_refused_once_something_is_listed(api, collector):
    def status(symbols):
        with httpx2.stream("GET", f"{api.url}/api/v1/stream", params={"symbols": symbols}, timeout=20) as answer:
            return answer.status_code, answer.read() and answer.json()["error"] if answer.status_code != 200 else None

    assert status("FOO")[0] == 200  # nothing at all is listed yet
    listed = (asset("first-coin", "FST", "First", at=NOW), listing(perp("SEC")))
    collector.write(batch(*listed, dataset=Dataset.MARKETS, interval=None))
    for known in ("fst", "first-coin", "sec", "SEC/USDT", "secusdt", "okx:SEC-usdt:perp", "BTC"):  # the last: supported
        assert status(known)[0] == 200, known
    for unknown in ("FOO", "SECEUR", "okx:FOO-USDT:perp", "okx:SECUSDT:perp"):
        code, error = status(f"SEC,{unknown}")
        assert (code, error["code"]) == (400, "INVALID_SYMBOL"), unknown
        assert unknown.upper() in error["details"]["symbols"]


def test_the_head_of_a_stream_is_answered_without_the_stream(api):
    answer = httpx2.head(f"{api.url}/api/v1/stream", timeout=5)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    wait_until(lambda: api.fanout.streams == 0, "the end of the stream")


def test_indicators_are_the_collectors_and_as_old_as_the_end_of_their_newest_bar(api, collector):
    with api.stream("kinds=indicators") as events:
        events.next()
        opened = NOW - timedelta(minutes=4)
        values = {"columns": {"rsi_14": [50.0, 51.0]}, "extra": {}, "warm": (True, True)}
        times = (opened, opened + timedelta(minutes=1))
        collector.write(batch(bar(4), bar(3)))
        collector.indicators(IndicatorBlock(instrument=perp("BTC"), interval=Interval.M1, open_times=times, **values))
        told = events.next().data
    ended = NOW - timedelta(minutes=2)  # the bar of three minutes ago lasts one
    assert (told["source"], told["count"]) == ("collector", 2)
    assert told["as_of"] == ended.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_readers_that_vanish_without_a_word_are_forgotten(api, collector):
    host, port = api.url.removeprefix("http://").split(":")
    for _ in range(3):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, no farewell
    wait_until(lambda: api.fanout.streams == 0, "the streams' end")


# --------------------------------------------------------------------------- without a server


def news(rows, xid=5, missing=0):
    return News(position=Position(1, xid), found=[Found(kind="tickers", rows=rows, missing=missing)])


def price(base="BTC", value="1.10"):
    return {
        "instrument": f"okx:{base}-USDT:perp",
        "base": base,
        "quote": "USDT",
        "source": "okx",
        "observed_at": NOW,
        "last_price": Decimal(value),
    }


def test_rows_of_one_commit_are_encoded_once_for_all_readers_with_one_wish():
    edition = Edition(news([price()]), simulated=False)
    wish = Wish(kinds=("tickers",))
    assert edition.frames(wish) is edition.frames(Wish(kinds=("tickers",)))
    assert edition.frames(Wish(kinds=("candles",))) == b""
    assert edition.frames(Wish(kinds=("tickers",), symbols=frozenset({"ETH"}))) == b""


def test_many_rows_come_in_several_events_and_only_the_last_has_a_place():
    frames = Edition(news([price() for _ in range(501)], missing=7), simulated=False).frames(Wish(kinds=("tickers",)))
    first, second, rest = frames.split(b"\n\n")
    assert b'"count":500,"left_out":0' in first
    assert not first.startswith(b"id:")
    assert second.startswith(b"id: 1-5\nevent: tickers\n")
    assert b'"count":1,"left_out":7' in second
    assert rest == b""


def test_a_number_that_is_none_never_leaves():
    rows = [{**price(), "last_price": Decimal("NaN"), "change": float("nan"), "more": float("inf")}]
    for exact in (True, False):
        frames = Edition(news(rows), simulated=False).frames(Wish(kinds=("tickers",), exact=exact))
        assert b'"last_price":null,"change":null,"more":null' in frames


def test_symbols_are_compared_in_one_spelling():
    assert {spelled(word) for word in ("btcusdt", "BTC/USDT", " BTC-usdt ")} == {"BTCUSDT"}
    assert spelled("okx:btc-usdt:perp") == "OKX:BTC-USDT:PERP"


class Connection:
    """A client's side of an answer that takes nothing any more after some messages."""

    def __init__(self, takes):
        self.takes, self.got = takes, []

    async def send(self, message):
        if len(self.got) >= self.takes:
            await asyncio.Event().wait()
        self.got.append(message.get("body", b""))

    async def receive(self):
        await asyncio.Event().wait()


def test_a_reader_that_does_not_keep_up_is_let_go_and_told_so(opened):
    async def run(takes):
        room = Fanout(opened, most=5, simulated=False)
        connection = Connection(takes)
        answer = Answer(room, "me", Wish(kinds=("tickers",)), None, simulated=False)
        task = asyncio.create_task(answer({}, connection.receive, connection.send))
        for _ in range(20):
            await asyncio.sleep(0)
        for xid in range(QUEUE + 2):  # one is on its way, sixteen wait, and one is too many
            room._hand_out(Edition(news([price()], xid), simulated=False))
            if takes == 3:
                await asyncio.sleep(0)
        await asyncio.wait_for(task, 5)
        assert room.streams == 0
        return connection.got

    stuck = asyncio.run(run(3))
    assert len(stuck) == 3  # head, retry, ready; then nothing could be sent, and the connection is given up
    got = asyncio.run(run(10**6))
    assert got[-2].startswith(b"event: end\ndata: ")
    assert b"slow" in got[-2]
    assert got[-1] == b""


def test_what_waits_for_a_reader_is_bounded():
    async def run():
        reader = Reader("me", Wish(kinds=("tickers",)))
        for xid in range(QUEUE):
            reader.give(Edition(news([price()], xid), simulated=False))
        assert not reader.over.is_set()
        reader.give(Edition(news([price()], 99), simulated=False))
        assert reader.over.is_set()
        assert reader.queue.qsize() == 1

    asyncio.run(run())


def test_a_stream_without_a_database_is_still_open_and_says_so(cluster):
    gone = cluster.create_database()
    cluster.drop(gone)
    database = Database(gone, clock=CLOCK, read_only=True)

    async def run():
        room = Fanout(database, most=5, simulated=False)
        room.open()
        reader = room.join("me", Wish(kinds=("candles",)))
        await asyncio.sleep(0.05)
        assert not room.listening
        room.close()
        await asyncio.wait_for(room.closed(), 5)
        assert reader.over.is_set()
        assert room.room("me") == "the server stops"

    asyncio.run(run())
    database.close()


def test_the_pauses_before_the_database_is_tried_again_are_bounded():
    assert 0 < fanout_module.FIRST_PAUSE_S < fanout_module.LONGEST_PAUSE_S <= 15


def test_the_session_of_the_api_cannot_write(opened):
    with pytest.raises(Exception, match="read-only"), opened.transaction() as connection:
        connection.execute(text("INSERT INTO cycles (cadence, state, started_at) VALUES ('x', 'running', now())"))
    assert issubclass(ApiError, Exception)

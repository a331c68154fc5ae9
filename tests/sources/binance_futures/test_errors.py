"""Binance futures: which error an answer stands for, and what the weight header says."""

from datetime import UTC, datetime, timedelta

import pytest

from collector.errors import AccessDenied, PayloadError, RateLimited, RequestRejected, VenueError, VenueUnreachable
from collector.parsing import decode_json
from collector.sources.binance_futures import BinanceFuturesCollector
from tests.sources.binance_futures.samples import FOLDER, NOON, RECEIVED, answer, body


@pytest.mark.parametrize(
    ("name", "status", "error", "code"),
    [
        ("instruments__error", 503, VenueUnreachable, "-1008"),
        ("tickers__error", 429, RateLimited, "-1003"),
        ("mark_prices__error", 418, RateLimited, "-1003"),
        ("open_interest__error", 400, RequestRejected, "-1121"),
        ("order_books__error", 400, RequestRejected, "-4021"),
        ("candles__error", 400, RequestRejected, "-1120"),
        ("funding__error", 200, RequestRejected, "99099990"),
        ("funding_terms__error", 400, VenueUnreachable, "-1001"),
    ],
)
def test_an_error_answer_becomes_the_error_that_says_what_to_do(name, status, error, code):
    with pytest.raises(error) as caught:
        BinanceFuturesCollector.check(answer(status, body(name)))
    assert (caught.value.source, caught.value.status, caught.value.code) == ("binance_futures", status, code)


def test_a_ban_lasts_until_the_moment_in_its_text():
    with pytest.raises(RateLimited) as caught:
        BinanceFuturesCollector.check(answer(418, body("mark_prices__error")))
    assert caught.value.banned
    assert caught.value.retry_at == datetime(2026, 3, 2, 12, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("retry_after", "retry_at"),
    [
        ("30", RECEIVED + timedelta(seconds=30)),
        ("0", RECEIVED),
        ("soon", NOON + timedelta(minutes=1)),
        ("", NOON + timedelta(minutes=1)),
        ("9" * 5000, NOON + timedelta(minutes=1)),
    ],
)
def test_a_refusal_waits_for_retry_after_or_else_for_the_next_minute_of_the_clock(retry_after, retry_at):
    with pytest.raises(RateLimited) as caught:
        BinanceFuturesCollector.check(answer(429, body("tickers__error"), {"retry-after": retry_after}))
    assert (caught.value.retry_at, caught.value.banned) == (retry_at, False)


def test_a_ban_without_an_end_is_left_to_the_shortest_known_ban():
    with pytest.raises(RateLimited) as caught:
        BinanceFuturesCollector.check(answer(418, b"<html>teapot</html>"))
    assert (caught.value.retry_at, caught.value.banned) == (None, True)


def test_the_later_of_two_named_moments_counts():
    headers = {"retry-after": "3600"}
    with pytest.raises(RateLimited) as caught:
        BinanceFuturesCollector.check(answer(418, body("mark_prices__error"), headers))
    assert caught.value.retry_at == RECEIVED + timedelta(hours=1)


@pytest.mark.parametrize(
    ("code", "gone"), [(-1121, True), (-1120, False), (-1122, False), (-1130, False), (-4141, False), (-1016, False)]
)
def test_only_the_invalid_symbol_code_says_that_the_symbol_is_gone(code, gone):
    with pytest.raises(RequestRejected) as caught:
        BinanceFuturesCollector.check(answer(400, b'{"code":%d,"msg":"no"}' % code))
    assert caught.value.symbol_gone is gone


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (403, b"<html><head><title>403 Forbidden</title></head></html>", AccessDenied),
        (451, b'{"code": 0, "msg": "Service unavailable from a restricted location"}', AccessDenied),
        (401, b'{"code":-2014,"msg":"API-key format invalid."}', AccessDenied),
        (404, b"<html>not found</html>", RequestRejected),
        (408, b"", VenueUnreachable),
        (500, b"[1,2]", VenueUnreachable),
        (502, b"<html>bad gateway</html>", VenueUnreachable),
        (503, b'"Unknown error, please check your request or try again later."', VenueUnreachable),
        (503, b'{"code":-1016,"msg":"This service is no longer available."}', RequestRejected),
        (429, b"<html>slow down</html>", RateLimited),
        (400, b'{"code":-1003,"msg":"Too many requests."}', RateLimited),
        (400, b'{"code":-1000,"msg":"unknown"}', VenueUnreachable),
        (400, b"\xff\xfe", RequestRejected),
        (302, b"", RequestRejected),
        (200, b'{"msg":"parameter \'startTime\' is invalid.","code":-1130}', RequestRejected),
        (200, b'  {"code":-1003,"msg":"Too many requests."}', RateLimited),
        (200, b'{"type":"GENERAL","status":"ERROR","data":null}', RequestRejected),
        (200, b'{"code":-1121,"msg":"' + b"x" * 5000 + b'"}', RequestRejected),
    ],
)
def test_statuses_and_bodies_of_every_kind_find_their_error(status, content, error):
    with pytest.raises(VenueError) as caught:
        BinanceFuturesCollector.check(answer(status, content))
    assert type(caught.value) is error


def test_the_text_of_an_error_is_one_short_line():
    with pytest.raises(RequestRejected) as caught:
        BinanceFuturesCollector.check(answer(400, b'{"code":-1100,"msg":"a\\nb\\ud800' + b"c" * 900 + b'"}'))
    assert str(caught.value).startswith("HTTP 400 code -1100: a b\\ud800ccc")
    assert len(str(caught.value)) < 240


GOOD = sorted(path.stem for path in FOLDER.glob("*.json") if not path.stem.endswith("__error"))


@pytest.mark.parametrize("name", GOOD)
def test_a_good_answer_passes_the_check(name):
    assert BinanceFuturesCollector.check(answer(200, body(name))) is None


def test_a_big_good_object_is_not_decoded_by_the_check():
    broken = b'{"timezone":"UTC","symbols":[' + b" " * 3000 + b"broken"
    assert BinanceFuturesCollector.check(answer(200, broken)) is None
    with pytest.raises(PayloadError):
        decode_json(broken)


@pytest.mark.parametrize(("header", "used"), [("1234", {"weight": 1234}), ("0", {"weight": 0}), ("", {}), ("-5", {})])
def test_used_weight_is_what_the_header_says(header, used):
    assert BinanceFuturesCollector.used_weight(answer(200, b"[]", {"x-mbx-used-weight-1m": header})) == used


def test_without_the_header_nothing_is_said_about_the_weight():
    assert BinanceFuturesCollector.used_weight(answer(200, b"[]")) == {}

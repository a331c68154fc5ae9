"""The error table of OKX: what each answer stands for."""

from datetime import timedelta

import pytest

from collector.errors import AccessDenied, RateLimited, RequestRejected, VenueError, VenueUnreachable
from collector.records import Dataset
from collector.sources.okx import OkxCollector
from tests.sources.okx.samples import PAYLOADS, RECEIVED, answer


@pytest.mark.parametrize(
    ("dataset", "status", "kind", "code"),
    [
        (Dataset.INSTRUMENTS, 429, RateLimited, "50011"),
        (Dataset.INSTRUMENTS, 200, RateLimited, "50011"),
        (Dataset.TICKERS, 200, RateLimited, "50011"),  # the code as a number
        (Dataset.MARK_PRICES, 429, VenueUnreachable, "50013"),
        (Dataset.FUNDING_FORECASTS, 500, VenueUnreachable, "50026"),
        (Dataset.OPEN_INTEREST, 200, RequestRejected, "51002"),
        (Dataset.CANDLES, 400, RequestRejected, "51000"),
        (Dataset.ORDER_BOOKS, 200, RequestRejected, "51001"),
        (Dataset.FUNDING, 200, AccessDenied, "50051"),
    ],
)
def test_an_error_answer_becomes_our_error(dataset: Dataset, status: int, kind: type[VenueError], code: str) -> None:
    body = (PAYLOADS / f"{dataset}__error.json").read_bytes()
    with pytest.raises(kind) as caught:
        OkxCollector.check(answer(body, status))
    assert (caught.value.source, caught.value.status, caught.value.code) == ("okx", status, code)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (200, "1", RequestRejected),
        (200, "50040", RateLimited),
        (503, "50001", VenueUnreachable),
        (400, "50004", VenueUnreachable),
        (410, "50005", RequestRejected),
        (200, "50046", RequestRejected),
        (400, "50014", RequestRejected),
        (200, "50052", AccessDenied),
        (200, "50121", AccessDenied),
        (200, "50059_7", AccessDenied),
        (401, "50113", AccessDenied),
        (200, "51022", RequestRejected),
        (200, "51001_2", RequestRejected),
        (500, "99999", VenueUnreachable),
    ],
)
def test_the_code_decides_whatever_the_status(status: int, code: str, kind: type[VenueError]) -> None:
    with pytest.raises(VenueError) as caught:
        OkxCollector.check(answer(f'{{"code":"{code}","data":[],"msg":"some text"}}', status))
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert "some text" in str(caught.value)


@pytest.mark.parametrize(("code", "gone"), [("51001", True), ("51014", True), ("51001_2", True), ("51022", False)])
def test_only_an_instrument_that_does_not_exist_is_called_gone(code: str, gone: bool) -> None:
    with pytest.raises(RequestRejected) as caught:
        OkxCollector.check(answer(f'{{"code":"{code}","data":[],"msg":""}}'))
    assert caught.value.symbol_gone is gone


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, VenueUnreachable),
        (400, RequestRejected),
        (401, AccessDenied),
        (403, AccessDenied),
        (404, RequestRejected),
        (429, RateLimited),
        (451, AccessDenied),
        (502, VenueUnreachable),
    ],
)
def test_a_page_of_markup_is_judged_by_its_status(status: int, kind: type[VenueError]) -> None:
    with pytest.raises(kind):
        OkxCollector.check(answer("\n<!DOCTYPE html><html>blocked</html>", status))


def test_a_wait_that_a_proxy_names_is_kept() -> None:
    for header, moment in (("7", RECEIVED + timedelta(seconds=7)), ("soon", None), ("", None), ("²", None)):
        with pytest.raises(RateLimited) as caught:
            OkxCollector.check(answer('{"code":"50011"}', 429, {"retry-after": header}))
        assert caught.value.retry_at == moment


@pytest.mark.parametrize(
    "body",
    [
        '{"code":"0","msg":"","data":[]}',
        '{ "msg" : "", "code" : "0", "data": [] }',
        '{"data":[{"code":"51001"}],"code":"0","msg":""}',
        '{"inTime":"1","code":0,"data":[]}',
        '{"code":null,"data":[]}',  # unknown shapes are the parser's business
        "[]",
        "",
    ],
)
def test_a_good_or_unreadable_answer_passes_the_check(body: str) -> None:
    assert OkxCollector.check(answer(body)) is None


def test_an_error_code_behind_the_data_is_found() -> None:
    with pytest.raises(RequestRejected):
        OkxCollector.check(answer('{"data":[{"code":"0"}],"msg":"","code":"51000"}'))


def test_an_answer_that_starts_well_is_judged_by_its_start_alone() -> None:
    """Listings and tickers are megabytes: they are decoded once, by the parser."""
    assert OkxCollector.check(answer('{"code":"0","msg":"","data":[],"code":"51000"}')) is None
    with pytest.raises(RequestRejected, match="51000"):
        OkxCollector.check(answer('{"msg":"","data":[],"code":"0","code":"51000"}'))

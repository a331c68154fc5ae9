"""One look at one source: verdicts on what came, against the simulator on a clock of its own."""

from collections import Counter
from datetime import timedelta

import pytest

from collector import providers
from collector.checkup import BARS, Finding, check_source, render
from collector.clock import ManualClock
from collector.records import Dataset, Interval
from collector.simulator.wire import Response, json_response
from tests.conftest import NOW
from tests.unit.cycle_rig import frozen_market, settings_of

M1 = (Interval.M1,)


class Answers:
    """Stands between network and venues: answers given paths in their place."""

    def __init__(self):
        self.instead = {}

    def before(self, venue, path, request):
        return self.instead.get(path)

    def after(self, venue, path, request, response):
        return response


@pytest.fixture(scope="module")
def market():
    """A simulated market that stands still at NOW, whatever the collector's clock says."""
    answers = Answers()
    with frozen_market(ManualClock(NOW), interceptor=answers) as running:
        yield running, answers
        answers.instead.clear()


def look(market, name, clock, intervals=M1, **instead):
    simulator, answers = market
    answers.instead = instead.get("instead", {})
    limits = {"sources": {"coingecko": {"limits": {"calls": {"capacity": 10_000, "window": "1m"}}}}}
    source = providers.build_source(name, settings_of(limits, addresses=simulator.base_urls), clock)
    try:
        return {finding.dataset: finding for finding in check_source(source.collector, intervals, clock)}
    finally:
        providers.close_source(source)
        answers.instead = {}


@pytest.mark.parametrize("name", ["okx", "binance_futures"])
def test_a_venue_in_good_health_is_fresh_in_every_dataset(market, clock, name):
    findings = look(market, name, clock)
    verdicts = Counter(finding.verdict for finding in findings.values())
    assert all(finding.ok for finding in findings.values()), findings
    assert set(verdicts) <= {"fresh", "received"}
    assert findings[Dataset.INSTRUMENTS].verdict == "received"  # a list has no age
    assert findings[Dataset.CANDLES].rows == BARS
    # the newest bar that is over at 14:37:42 ended at 14:37:00
    assert findings[Dataset.CANDLES].newest == NOW.replace(second=0)
    assert findings[Dataset.CANDLES].age_s == 42
    assert next(iter(findings)) == Dataset.INSTRUMENTS  # the others need an instrument from it


def test_an_aggregator_in_good_health_is_fresh_in_every_dataset(market, clock):
    findings = look(market, "coingecko", clock, (Interval.H4,))
    assert all(finding.ok for finding in findings.values()), findings
    assert findings[Dataset.LISTING].verdict == "received"
    assert findings[Dataset.MARKETS].verdict == "fresh"
    assert findings[Dataset.MARKETS].rows >= 40


def test_answers_an_hour_old_are_stale_and_not_ok(market):
    findings = look(market, "okx", ManualClock(NOW + timedelta(hours=1)))
    tickers = findings[Dataset.TICKERS]
    assert (tickers.verdict, tickers.ok) == ("stale", False)
    assert 3600 <= tickers.age_s <= 3700
    assert findings[Dataset.INSTRUMENTS].verdict == "received"


def test_an_answer_without_rows_is_empty_and_not_ok(market, clock):
    nothing = json_response({"code": "0", "msg": "", "data": []})
    findings = look(market, "okx", clock, instead={"/api/v5/market/tickers": nothing})
    assert findings[Dataset.TICKERS].verdict == "empty"
    assert not findings[Dataset.TICKERS].ok
    assert findings[Dataset.MARK_PRICES].ok


def test_an_answer_in_an_unknown_shape_fails_its_dataset_only_and_says_where(market, clock):
    odd = json_response({"code": "0", "msg": "", "data": [{"instId": 7}]})
    findings = look(market, "okx", clock, instead={"/api/v5/market/tickers": odd})
    assert findings[Dataset.TICKERS].verdict == "failed"
    assert "$.data[0].instId" in findings[Dataset.TICKERS].detail
    assert findings[Dataset.MARK_PRICES].verdict == "fresh"


def test_a_refusal_fails_its_dataset_with_the_providers_words(market, clock):
    refused = json_response({"code": "51001", "msg": "Instrument ID does not exist", "data": []})
    findings = look(market, "okx", clock, instead={"/api/v5/market/books": refused})
    assert findings[Dataset.ORDER_BOOKS].verdict == "failed"
    assert "51001" in findings[Dataset.ORDER_BOOKS].detail


def test_without_the_list_of_instruments_only_what_needs_none_is_tried(market, clock):
    wrong = Response(status=404, body=b"{}")
    findings = look(market, "okx", clock, instead={"/api/v5/public/instruments": wrong})
    assert findings[Dataset.INSTRUMENTS].verdict == "failed"
    assert findings[Dataset.CANDLES].detail == "no instrument to ask for: the list of instruments did not come"
    assert not any(finding.ok for finding in findings.values())


def test_rows_that_are_not_believed_are_counted_and_the_first_is_explained(market, clock):
    simulator, _ = market
    book = {"asks": [["100", "1", "0", "1"]], "bids": [["101", "1", "0", "1"]]}
    crossed = json_response({"code": "0", "msg": "", "data": [{**book, "ts": str(simulator.now_ms())}]})
    finding = look(market, "okx", clock, instead={"/api/v5/market/books": crossed})[Dataset.ORDER_BOOKS]
    assert (finding.verdict, finding.rows, finding.rejects) == ("empty", 0, 1)
    assert finding.detail


def test_what_was_found_is_shown_a_line_per_dataset():
    common = {"rejects": 0, "elapsed_s": 0.1234}
    fresh = Finding(dataset="tickers", ok=True, rows=34, newest=NOW, age_s=65.0, verdict="fresh", detail="", **common)
    failed = Finding(
        dataset="candles", ok=False, rows=0, newest=None, age_s=None, verdict="failed", detail="HTTP 404", **common
    )
    title, head, first, second = render("okx", [fresh, failed]).splitlines()
    assert title == "okx:"
    assert head.split() == ["dataset", "verdict", "rows", "newest", "age", "took", "detail"]
    assert first.split() == ["tickers", "fresh", "34", "2026-03-11", "14:37:42", "1m", "5s", "0.12", "s"]
    assert second.split() == ["candles", "failed", "0", "-", "-", "0.12", "s", "HTTP", "404"]

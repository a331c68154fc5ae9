"""CoinCap v3 over payloads in the documented shape; the shape of its refusals is documented nowhere."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from collector import validate
from collector.errors import AccessDenied, PayloadError, RateLimited, RequestRejected, VenueUnreachable
from collector.records import Asset, Batch, Dataset, Job, MarketSnapshot, Reject, RejectReason
from collector.sources.base import Cost
from collector.sources.coincap import CoincapCollector
from tests.sources.samples import Samples

RECEIVED = datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC)
SAMPLES = Samples(CoincapCollector, RECEIVED)
body, answer, payload_of = SAMPLES.body, SAMPLES.answer, SAMPLES.payload
MADE = datetime(2026, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)  # 1767225600250, the time in the payloads
MARKETS = Job(source="coincap", dataset=Dataset.MARKETS, limit=3)
LISTING = Job(source="coincap", dataset=Dataset.LISTING)
D = Decimal


def parse(name):
    job = LISTING if name.startswith("listing") else MARKETS
    return list(CoincapCollector.parsers[job.dataset](payload_of(job, body(name))))


def asset(asset_id, symbol, name):
    return Asset(source="coincap", observed_at=MADE, received_at=RECEIVED, asset_id=asset_id, symbol=symbol, name=name)


FOO, BAR = asset("foo", "FOO", "Foo"), asset("bar-coin", "BAR", "Bar Coin")


# --------------------------------------------------------------------------- parsers


def test_the_listing_names_every_coin_with_its_symbol_in_upper_case():
    assert parse("listing__normal") == [FOO, BAR]


def test_a_coin_has_its_numbers_to_the_last_digit_and_what_is_not_said_stays_none():
    assert parse("markets__normal")[:2] == [
        FOO,
        MarketSnapshot(
            source="coincap",
            observed_at=MADE,
            received_at=RECEIVED,
            asset_id="foo",
            price_usd=D("125.0012345678901234"),
            market_cap_usd=D("12500.1234567890123456"),
            rank=1,
            volume_24h_usd=D(1000),
            change_24h_pct=D("-0.8"),
            circulating_supply=D(100),
            max_supply=D(210),
        ),
    ]


def test_every_price_comes_with_the_symbol_by_which_its_coin_is_recognised():
    named = [item for item in parse("markets__normal") if isinstance(item, Asset)]
    priced = [item.asset_id for item in parse("markets__normal") if isinstance(item, MarketSnapshot)]
    assert named == [FOO, BAR, asset("tiny", "TNY", "Tiny")]
    assert priced == ["foo", "bar-coin", "tiny"]


def test_null_is_none_and_a_very_small_price_is_a_price():
    tiny = parse("markets__normal")[-1]
    assert (tiny.price_usd, tiny.circulating_supply) == (D("1.234E-13"), D(1_000_000))
    assert (tiny.market_cap_usd, tiny.volume_24h_usd, tiny.change_24h_pct, tiny.max_supply) == (None,) * 4


def test_zero_is_a_value():
    _, idle = parse("markets__zero")
    assert (idle.market_cap_usd, idle.volume_24h_usd, idle.change_24h_pct) == (0, 0, 0)
    assert (idle.circulating_supply, idle.max_supply) == (0, 0)
    assert idle.price_usd == D("2.5")


def test_empty_lists_have_no_rows():
    assert parse("markets__empty") == []
    assert parse("listing__empty") == []


def test_a_coin_without_any_number_is_refused_and_one_with_a_supply_stays():
    named, unpriced, *rejects = parse("markets__null_row")
    assert (named.asset_id, unpriced.asset_id) == ("unpriced", "unpriced")
    assert (unpriced.price_usd, unpriced.circulating_supply) == (None, D(10))
    assert all(isinstance(item, Reject) for item in rejects)
    assert [(item.reason, item.detail) for item in rejects] == [
        (RejectReason.WRONG_SUBJECT, "a row without id or symbol"),
        (RejectReason.WRONG_SUBJECT, "a row without id or symbol"),
        (RejectReason.NO_PRICE, "gone has no current number"),
    ]


def test_a_coin_that_comes_twice_in_one_answer_counts_once():
    found = [(item.asset_id, item.price_usd) for item in parse("markets__twice") if isinstance(item, MarketSnapshot)]
    assert found == [("foo", D("125.0012345678901234")), ("bar-coin", D(1))]


def test_a_missing_field_is_another_shape_and_its_path_is_named():
    with pytest.raises(PayloadError, match=r"\$\.data\[0\]\.priceUsd: missing"):
        parse("markets__unknown_shape")


@pytest.mark.parametrize("dataset", [Dataset.LISTING, Dataset.MARKETS])
@pytest.mark.parametrize(
    ("content", "path"),
    [
        (body("error__retired"), r"\$\.data: expected a list"),  # the retired version, if it ever comes with 200
        (b'{"data": []}', r"\$\.timestamp: missing"),
        (b"[]", r"\$: expected an object"),
    ],
)
def test_what_is_no_list_of_assets_with_a_time_is_refused(dataset, content, path):
    with pytest.raises(PayloadError, match=path):
        list(CoincapCollector.parsers[dataset](payload_of(Job(source="coincap", dataset=dataset), content)))


def test_rows_in_the_documented_shape_are_believed():
    records = tuple(parse("markets__normal"))
    batch = Batch(job=MARKETS, records=records)
    checked = validate.check(batch, now=RECEIVED)
    assert (checked.records, checked.rejects) == (records, ())


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("situation", ["markets__normal", "markets__empty", "listing__normal", "listing__empty"])
def test_good_answers_pass_the_check(situation):
    assert CoincapCollector.check(answer(body(situation))) is None


def test_the_retired_version_is_no_limit_that_passes_when_one_waits():
    with pytest.raises(AccessDenied, match=r"HTTP 429: We are deprecating this version of the API\. Sign up"):
        CoincapCollector.check(answer(body("error__retired"), 429))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, RateLimited),
        (401, AccessDenied),
        (402, AccessDenied),
        (403, AccessDenied),
        (451, AccessDenied),
        (408, VenueUnreachable),
        (500, VenueUnreachable),
        (503, VenueUnreachable),
        (400, RequestRejected),
        (404, RequestRejected),
        (302, RequestRejected),
    ],
)
@pytest.mark.parametrize("content", [b"", b"<html>", body("error__flat"), b'{"data": []}'])
def test_statuses_say_what_comes_next_whatever_the_body(status, kind, content):
    with pytest.raises(kind, match=f"^HTTP {status}$") as caught:
        CoincapCollector.check(answer(content, status))
    assert (caught.value.source, caught.value.status) == ("coincap", status)


# --------------------------------------------------------------------------- calls


class Wire:
    """Answers with as many assets as there are from the offset on, at most `most` in a page."""

    def __init__(self, there, most=2000):
        self.there, self.most = there, most
        self.asked = []

    def get(self, path, params, cost):
        self.asked.append((path, params["limit"], params["offset"], cost.weight))
        assert set(params) == {"limit", "offset"}
        assert cost.scope == "credits"
        count = max(0, min(params["limit"], self.most, self.there - params["offset"]))
        rows = [{"id": f"coin-{params['offset'] + place}"} for place in range(count)]
        return answer(json.dumps({"data": rows, "timestamp": 1767225600250}).encode())


def fetched(there, job, most=2000):
    wire = Wire(there, most)
    pages = [json.loads(page.body)["data"] for page in CoincapCollector(wire).fetch(job)]
    return [row["id"] for page in pages for row in page], wire.asked


def ranked(limit):
    return Job(source="coincap", dataset=Dataset.MARKETS, limit=limit)


def test_the_best_ranked_are_asked_for_in_one_call_that_costs_by_its_length():
    names, asked = fetched(3000, ranked(250))
    assert len(names) == 250
    assert asked == [("/assets", 250, 0, 51)]  # one, and one for each five assets of 500 bytes


def test_more_than_a_page_is_asked_for_page_by_page():
    names, asked = fetched(3000, ranked(2300))
    assert names == [f"coin-{number}" for number in range(2300)]
    assert asked == [("/assets", 1000, 0, 201), ("/assets", 1000, 1000, 201), ("/assets", 300, 2000, 61)]


def test_a_short_page_ends_the_ranking():
    names, asked = fetched(40, ranked(1500))
    assert (len(names), len(asked)) == (40, 1)


@pytest.mark.parametrize("most", [2000, 700])
def test_the_listing_goes_on_until_a_page_is_empty_however_short_the_pages_are(most):
    names, asked = fetched(2345, LISTING, most)
    assert names == [f"coin-{number}" for number in range(2345)]
    assert asked[-1] == ("/assets", 1000, 2345, 201)


def test_a_listing_without_an_end_is_given_up():
    with pytest.raises(PayloadError, match="does not end within 20 pages"):
        fetched(10**6, LISTING)


@pytest.mark.parametrize(("job", "there"), [(ranked(250), 3000), (ranked(2300), 3000), (LISTING, 3000), (LISTING, 1)])
def test_no_job_makes_more_calls_than_the_proof_of_a_schedule_counts(job, there):
    _, asked = fetched(there, job)
    reckoned = CoincapCollector.calls(job)
    assert len(asked) <= len(reckoned)
    assert [weight for *_, weight in asked] == [cost.weight for cost in reckoned][: len(asked)]
    assert {cost.scope for cost in reckoned} == {"credits"}


def test_a_ranking_without_a_limit_is_one_page():
    assert CoincapCollector.calls(ranked(None)) == [Cost(scope="credits", weight=201)]


def test_other_datasets_are_not_given():
    with pytest.raises(ValueError, match="no candles"):
        list(CoincapCollector(Wire(1)).fetch(Job(source="coincap", dataset=Dataset.CANDLES)))


@pytest.mark.parametrize(
    ("name", "month"),
    [("free", 4_000), ("basic", 75_000), ("growth", 225_000), ("professional", 675_000), ("enterprise", 5_000_000)],
)
def test_every_plan_has_a_key_and_the_documented_credits(name, month):
    plan = CoincapCollector.plans[name]
    assert (plan.key_header, plan.key_prefix) == ("Authorization", "Bearer ")
    assert plan.base_url == "https://rest.coincap.io/v3"
    assert [(limit.scope, limit.capacity, limit.window) for limit in plan.limits] == [
        ("credits", 600, timedelta(minutes=1)),
        ("credits", month, timedelta(days=31)),
    ]


def test_nothing_is_told_about_use_and_limits():
    assert CoincapCollector.used_weight(answer(b"")) == {}
    assert CoincapCollector.told_limits(payload_of(LISTING, b"")) == ()

"""Names that nobody ever stored are no empty page: the client is told which of its names is wrong."""

import pytest

from collector.records import Dataset
from tests.api.v1_stand import Stand
from tests.storage.samples import BTC, asset, batch, listing, snapshot, ticker

NOPE = "okx:NOPE-USDT:perp"
BARS = {"instrument": BTC.id, "interval": "1m"}


@pytest.fixture(scope="module")
def stand(cluster):
    url = cluster.create_database()
    made = Stand(url)
    made.write(batch(asset(), asset("ethereum", "ETH", "Ethereum"), source="coingecko", dataset=Dataset.LISTING))
    made.write(batch(snapshot(), source="coingecko"), batch(listing(), dataset=Dataset.INSTRUMENTS), batch(ticker()))
    yield made
    made.close()
    cluster.drop(url)


@pytest.mark.parametrize(
    ("path", "asked", "unknown"),
    [
        ("/markets", {"asset_id": "foo"}, {"asset_id": ["foo"]}),
        ("/markets/latest", {"asset_id": "bitcoin,foo"}, {"asset_id": ["foo"]}),
        ("/assets", {"asset_id": "foo,bitcoin,bar"}, {"asset_id": ["foo", "bar"]}),
        ("/assets/details", {"asset_id": "foo"}, {"asset_id": ["foo"]}),
        ("/instruments", {"asset_id": "foo"}, {"asset_id": ["foo"]}),
        ("/instruments", {"instrument": f"{BTC.id},{NOPE}"}, {"instrument": [NOPE]}),
        ("/tickers/latest", {"instrument": NOPE}, {"instrument": [NOPE]}),
        ("/tickers", {"instrument": NOPE}, {"instrument": [NOPE]}),
        ("/coverage", {"instrument": NOPE}, {"instrument": [NOPE]}),
        ("/gaps", {"instrument": NOPE}, {"instrument": [NOPE]}),
        ("/jobs", {"cycle_id": 999}, {"cycle_id": ["999"]}),
    ],
)
def test_a_name_that_nobody_stored_is_not_found_by_name(stand, path, asked, unknown):
    answer = stand.get(path, **asked)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["details"]) == (404, "NOT_FOUND", unknown)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/markets", {"asset_id": "ethereum"}),  # listed, without a price
        ("/markets/latest", {"asset_id": "bitcoin,ethereum"}),
        ("/markets/latest", {"asset_id": "bitcoin", "followed": "true"}),
        ("/mark_prices/latest", {"instrument": BTC.id}),
        ("/instruments", {"asset_id": "ethereum"}),
        ("/gaps", {"instrument": BTC.id}),
        ("/jobs", {"cycle_id": 1, "state": "failed"}),
        ("/candles", {**BARS, "source": "kraken"}),
        ("/tickers/latest", {"venue": "kraken"}),
    ],
)
def test_a_known_name_without_rows_is_left_out(stand, path, asked):
    assert stand.page(path, **asked)["count"] <= 1


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/assets", {}),
        ("/global", {}),
        ("/sentiments", {}),
        ("/sources", {}),
        ("/sources/budgets", {}),
        ("/candles", BARS),
        ("/gaps/snapshots", {}),
    ],
)
def test_a_source_that_is_none_is_refused_with_those_there_are(stand, path, asked):
    answer = stand.get(path, source="evil", **asked)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "INVALID_PARAMETER")
    assert {"okx", "coingecko", "kraken"} <= set(error["details"]["known"])


def test_a_venue_that_is_none_is_refused_with_those_there_are(stand):
    assert stand.refusal("/tickers/latest", venue="evil") == (400, "INVALID_PARAMETER")

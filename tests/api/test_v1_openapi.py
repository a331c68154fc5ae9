"""The document of /api/v1 and its answers agree, for every address, format and choice of numbers."""

import pytest
from jsonschema_rs import Draft202012Validator

from collector.api.v1.freshness import UNKNOWN, Expected, collected_every
from collector.api.v1.nothing import EMPTY
from collector.api.v1.routes import ROUTES
from collector.config import load_settings
from collector.records import Dataset, Interval
from tests.api.v1_stand import Stand
from tests.storage.samples import BTC, asset, batch, everything, listing

PATHS = [route.path for route in ROUTES] + [*EMPTY, "/sources"]
GIVEN = {"instrument": BTC.id, "interval": "1m", "asset_id": "bitcoin", "cycle_id": 1}
NEEDS = {route.path: {name: GIVEN[name] for name in route.topic.needs} for route in ROUTES}


@pytest.fixture(scope="module")
def stand(cluster):
    url = cluster.create_database()
    made = Stand(url)
    made.write(batch(*everything()), batch(listing()), batch(asset(), source="coingecko"))
    yield made
    made.close()
    cluster.drop(url)


@pytest.fixture(scope="module")
def document(stand):
    return stand.app.openapi()


def schema_of(document, path, status="200"):
    content = document["paths"][f"/api/v1{path}"]["get"]["responses"][status]["content"]["application/json"]
    return {**content["schema"], "components": document["components"]}, content.get("example")


@pytest.mark.parametrize("numbers", ["number", "string"])
@pytest.mark.parametrize("path", PATHS)
def test_an_answer_has_the_shape_that_the_document_promises(stand, document, path, numbers):
    schema, _ = schema_of(document, path)
    Draft202012Validator(schema).validate(stand.page(path, numbers=numbers, **NEEDS.get(path, {})))


def test_a_cycle_has_the_shape_that_the_document_promises(stand, document):
    schema, example = schema_of(document, "/cycles/{cycle_id}")
    Draft202012Validator(schema).validate(stand.page("/cycles/1"))
    Draft202012Validator(schema).validate(example)


@pytest.mark.parametrize("path", [path for path in PATHS if path not in EMPTY])
def test_an_example_has_the_shape_that_the_document_promises(document, path):
    schema, example = schema_of(document, path)
    Draft202012Validator(schema).validate(example)


def test_an_error_has_the_shape_that_the_document_promises(stand, document):
    schema, _ = schema_of(document, "/candles", "400")
    Draft202012Validator(schema).validate(stand.get("/candles").json())


@pytest.mark.parametrize("path", PATHS)
def test_every_address_says_what_it_is_and_explains_its_columns_and_parameters(document, path):
    told = document["paths"][f"/api/v1{path}"]["get"]
    assert told["summary"]
    assert {"200", "304", "400", "default"} <= set(told["responses"])
    assert [item["name"] for item in told["parameters"] if not item.get("description")] == []
    limit = next(item["schema"] for item in told["parameters"] if item["name"] == "limit")
    assert limit["maximum"] <= stand_page_rows()


def stand_page_rows():
    return 5000  # the default of api.page_rows


def test_columns_are_explained_by_the_words_of_the_database(document):
    close = document["components"]["schemas"]["CandlesRow"]["properties"]["close"]
    assert close["description"] == "last price, in quote"


def test_the_shipped_configuration_says_how_often_each_dataset_is_collected():
    every = collected_every(load_settings(environment={})[0])
    assert every["binance_futures", Dataset.TICKERS].total_seconds() == 300
    assert every["kraken", Dataset.CANDLES].total_seconds() == 86_400
    assert ("coincap", Dataset.MARKETS) not in every  # not enabled
    assert ("kraken", Dataset.ORDER_BOOKS) not in every


def test_the_slowest_source_of_an_answer_decides_how_old_it_may_be():
    cadences = {("kraken", Dataset.CANDLES): 288 * UNKNOWN, ("okx", Dataset.CANDLES): UNKNOWN}
    bars = Expected(cadences, Dataset.CANDLES, Interval.M1)
    assert bars.allowed(["okx"]) == 2 * UNKNOWN
    assert bars.allowed(["okx", "kraken"]) == 576 * UNKNOWN
    assert bars.allowed(["unheard_of"]) == 2 * UNKNOWN
    assert Expected(cadences, Dataset.CANDLES, Interval.W1).allowed(["okx"]) == 2 * Interval.W1.width
    assert Expected({}, Dataset.FUNDING).allowed([]).total_seconds() == 16 * 3600


def test_a_value_that_is_renewed_less_often_than_it_is_asked_for_is_judged_by_its_renewal():
    often = {("coingecko", dataset): UNKNOWN / 15 for dataset in (Dataset.GLOBAL, Dataset.MARKETS)}  # every 20 s
    assert Expected(often, Dataset.MARKETS).allowed(["coingecko"]).total_seconds() == 120  # renewed once a minute
    assert Expected(often, Dataset.GLOBAL).allowed(["coingecko"]).total_seconds() == 1200  # every ten minutes
    seldom = {("coingecko", Dataset.MARKETS): 2 * UNKNOWN}
    assert Expected(seldom, Dataset.MARKETS).allowed(["coingecko"]) == 4 * UNKNOWN

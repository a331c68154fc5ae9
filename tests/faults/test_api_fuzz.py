"""Thousands of requests made from our own OpenAPI document: none is answered with a 5xx, every answer matches it.

Half of them are drawn from what the document allows, half from what it forbids. Random names exist nowhere, so some of
the values are exchanged for real ones: instruments, times and cursors of the database behind the application.
"""

import random
from collections import Counter

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from collector.clock import ManualClock, SystemClock
from collector.storage.database import Database
from collector.storage.findings import Findings
from tests.api.analytics_rows import PORTFOLIO, everything
from tests.api.fed_stand import fed
from tests.conftest import NOW

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

ALL = 5_000  # requests, at least
# Cases drawn for each address, and requests made of each: drawing one takes as long as answering four.
MODES = ((GenerationMode.POSITIVE, 16, 5), (GenerationMode.NEGATIVE, 14, 3))
SECONDS_PER_REQUEST = 0.2  # on the clock of the application, so that limits of providers are renewed and rows grow old
ENDLESS = "/api/v1/stream"  # has tests of its own
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PERP = "okx:BTC-USDT:perp"
REAL = {
    "symbol": ["BTC", "ETH", "btc/usdt", "SOL-USDT", "DOT"],
    "symbols": ["BTC", "BTC,ETH,SOL", "matic"],
    "interval": ["1m", "1h", "1d"],
    "limit": [1, 2, 20, 1000],
    "convert": ["USD", "usdt"],
    "instrument": [PERP, "binance_futures:ETH-USDT:perp", "kraken:BTC-USDT:spot"],
    "venue": ["okx", "kraken"],
    "base": ["BTC"],
    "quote": ["USDT"],
    "source": ["okx", "coingecko", "binance_futures"],
    "asset_id": ["bitcoin", "ethereum"],
    "cycle_id": [1, 2],
    "columns": ["rsi_14", "macd,obv"],
    "from": ["2026-03-11T14:00:00Z", "2026-03-01", 1773239640000],
    "to": ["2026-03-11T14:37:42Z", 1773239640000],
    "format": ["json", "csv", "arrow"],
    "subject": ["bitcoin", PERP],
    "portfolio": [PORTFOLIO],
    "as_of": ["2026-01-31T12:00:00.000Z"],
    "span": ["15m", "30d"],
    "measure": ["price", "rsi_14"],
    "part": ["collector", "okxservice"],
}


@pytest.fixture(scope="module")
def running(cluster, tmp_path_factory):
    """(application over a filled database, its client)."""
    url = cluster.create_database()
    database = Database(url, clock=SystemClock())
    with (
        fed(database, ManualClock(NOW), tmp_path_factory.mktemp("logs"), symbols=("BTC", "ETH", "DOT", "POL")) as api,
        api.client as client,
    ):
        Findings(database).store(everything())
        yield api, client
    database.close()
    cluster.drop(url)


def cursors(client, operations):
    """Return the cursor of the second page of each address that has one."""
    found = {}
    for operation in operations:
        if any(parameter.name == "cursor" for parameter in operation.query):
            query = {parameter.name: REAL[parameter.name][0] for parameter in operation.query if parameter.is_required}
            answer = client.get(operation.path.format(portfolio=PORTFOLIO), params={**query, "limit": 1})
            assert answer.status_code == 200, (operation.path, answer.text)
            found[operation.path] = answer.json()["next"]
    return {path: cursor for path, cursor in found.items() if cursor}


def with_real_values(case, second_pages, chance):
    """Exchange some of the values of a request for ones that mean something here."""
    operation, query = case.operation, dict(case.query or {})
    for parameter in operation.query:
        if parameter.name in REAL and (parameter.is_required or chance.random() < 0.4):
            query[parameter.name] = chance.choice(REAL[parameter.name])
    if operation.path in second_pages and chance.random() < 0.3:
        query["cursor"] = second_pages[operation.path]
    elif chance.random() < 0.5:
        query.pop("cursor", None)  # a made-up one is refused before anything else is looked at
    case.query = query or None
    if case.path_parameters:
        case.path_parameters = {name: chance.choice(REAL[name]) for name in case.path_parameters}


def test_requests_made_from_the_document_meet_answers_that_match_it(running):
    api, client = running
    document = schemathesis.openapi.from_dict(api.app.openapi())
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) >= 45
    operations = [operation for operation in operations if operation.path != ENDLESS]
    second_pages = cursors(client, operations)
    assert len(second_pages) >= 10
    statuses, filled, wrong = Counter(), Counter(), {}

    def ask(case):
        api.clock.advance(SECONDS_PER_REQUEST)
        try:
            response = client.request(**sent(case))
        except httpx2.InvalidURL:  # too long for the client to send
            return
        statuses[response.status_code] += 1
        filled[case.operation.path] += response.status_code == 200
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as failures:  # kept by kind, so that one defect does not hide the others
            for failure in failures.exceptions:
                wrong.setdefault((case.operation.label, failure.title), f"{failure}\n{response.text[:300]}")

    for operation in operations:
        for mode, cases, requests in MODES:
            if mode is GenerationMode.POSITIVE or any(operation.iter_parameters()):
                fuzz(operation, mode, cases, variants(ask, requests, second_pages))
    assert not wrong, "\n\n".join(f"{label}: {title}\n{told}" for (label, title), told in wrong.items())
    assert sum(statuses.values()) >= ALL, statuses
    assert statuses[200] >= ALL / 5, statuses
    assert [path for path, count in filled.items() if not count] == []


def sent(case):
    """Return a request as the client of the application takes it."""
    request = case.as_transport_kwargs(base_url="http://localhost")
    return {name: value for name, value in request.items() if name != "cookies"}


def variants(ask, requests, second_pages):
    """Return what makes so many requests of one case: as it was drawn, and with real values in it."""
    chance = random.Random(1)

    def ask_all(case):
        ask(case)
        drawn = case.query
        for _ in range(requests - 1):
            case.query = drawn
            with_real_values(case, second_pages, chance)
            ask(case)

    return ask_all


def fuzz(operation, mode, cases, ask):
    """Draw up to `cases` different requests for one address."""
    bounds = settings(
        max_examples=cases,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    bounds(given(case=operation.as_strategy(generation_mode=mode))(ask))()

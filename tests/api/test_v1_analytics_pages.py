"""Pages of what was computed are found by an index, however many rows there are; their document tells what they are."""

import re
from datetime import UTC, datetime

import pytest
from jsonschema_rs import Draft202012Validator
from sqlalchemy import text

from collector.api.v1 import analytics, portfolios
from collector.api.v1.freshness import COMPUTED, computed_every
from collector.clock import SystemClock
from collector.config import load_settings
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.serving import Ask
from collector.storage.serving import analytics as topics
from collector.storage.serving.pages import statement
from tests.api import analytics_rows
from tests.api.analytics_rows import ETH, PORTFOLIO
from tests.api.v1_stand import Stand
from tests.storage.samples import BTC, asset, batch, listing

ROUTES = (*analytics.ROUTES, *portfolios.ROUTES)
WEIGHTS = "/portfolios/{portfolio}/weights"
GIVEN = {"instrument": BTC.id, "asset_id": "bitcoin", "subject": "bitcoin"}
NEEDS = {route.path: {name: GIVEN[name] for name in route.topic.needs} for route in ROUTES}
PATHS = [*NEEDS, WEIGHTS]


@pytest.fixture(scope="module")
def stand(cluster):
    url = cluster.create_database()
    made = Stand(url)
    made.write(batch(listing(), listing(ETH)), batch(asset(), source="coingecko"))
    made.find(**analytics_rows.everything())
    yield made
    made.close()
    cluster.drop(url)


@pytest.fixture(scope="module")
def document(stand):
    return stand.app.openapi()


def schema_of(document, path):
    content = document["paths"][f"/api/v1{path}"]["get"]["responses"]["200"]["content"]["application/json"]
    return {**content["schema"], "components": document["components"]}, content["example"]


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_and_the_example_have_the_shape_that_the_document_promises(stand, document, path):
    schema, example = schema_of(document, path)
    page = stand.page(path.format(portfolio=PORTFOLIO), **NEEDS.get(path, {}))
    assert page["count"] > 0
    Draft202012Validator(schema).validate(page)
    Draft202012Validator(schema).validate(example)


def test_a_run_with_its_inputs_has_the_shape_that_the_document_promises(stand, document):
    schema, example = schema_of(document, "/portfolios/inputs")
    answer = stand.page("/portfolios/inputs", portfolio=PORTFOLIO, as_of="2026-01-31T12:00:00.000Z")
    Draft202012Validator(schema).validate(answer)
    Draft202012Validator(schema).validate(example)


@pytest.mark.parametrize("path", [*PATHS, "/portfolios/inputs"])
def test_every_address_says_what_it_is_and_explains_its_parameters(document, path):
    told = document["paths"][f"/api/v1{path}"]["get"]
    assert told["summary"]
    assert told["description"]
    assert [item["name"] for item in told["parameters"] if not item.get("description")] == []


@pytest.mark.parametrize("path", PATHS)
def test_pages_together_are_all_rows_once_in_either_order(stand, path):
    asked, address = NEEDS.get(path, {}), path.format(portfolio=PORTFOLIO)
    whole = stand.page(address, **asked)["data"]
    assert stand.all_pages(address, limit=1, **asked) == whole
    if stand.get(address, order="oldest", **asked).status_code == 200:  # rows with a time
        assert stand.all_pages(address, limit=1, order="oldest", **asked) == whole[::-1]


def test_the_shipped_configuration_says_how_often_rows_are_computed():
    every = computed_every(load_settings(environment={})[0])
    assert set(every) <= set(COMPUTED)
    assert every["derived_metrics"].total_seconds() == 300
    assert every["asset_views"].total_seconds() == 3600
    assert every["portfolio_runs"].total_seconds() == 86_400


# --------------------------------------------------------------------------- indexes

MONTHS = [(2025, month) for month in range(6, 13)] + [(2026, 1), (2026, 2)]
TIMES = "generate_series(timestamptz '2025-06-01Z', timestamptz '2026-01-31Z', interval '{}') o"
FILLED = {
    "instruments": """
        INSERT INTO instruments (instrument, venue, base, quote, kind, venue_symbol, contract_size, first_seen_at,
            last_seen_at)
        SELECT 'okx:C' || i || '-USDT:perp', 'okx', 'C' || i, 'USDT', 'perp', 'C', 1, now(), now()
        FROM generate_series(1, 300) i
    """,
    "derived_metrics": f"""
        INSERT INTO derived_metrics (instrument_id, measure, span, observed_at, value, samples, computed_at)
        SELECT i, m, s, o, 1, 15, o FROM generate_series(1, 6) i, unnest(ARRAY['price', 'volume']) m,
            unnest(ARRAY['15m', '20', '5m']) s, {TIMES.format("1 hour")}
    """,
    "signals": f"""
        INSERT INTO signals (instrument_id, interval, name, parameter_hash, version, bar_end, kind, direction, state,
            window_since, window_until, bars, parameters, inputs_hash, computed_at)
        SELECT i, '1h', n, 'h', 1, o, n, 1, 's', o, o, 1, '{{}}', 'h', o FROM generate_series(1, 6) i,
            unnest(ARRAY['rsi', 'macd', 'breakout']) n, {TIMES.format("1 hour")}
    """,
    "signal_outcomes": f"""
        INSERT INTO signal_outcomes (instrument_id, interval, name, parameter_hash, version, bar_end, horizon, kind,
            direction, exit_end, status, computed_at)
        SELECT i, '1h', n, 'h', 1, o, h, n, 1, o, 'done', o FROM generate_series(1, 6) i,
            unnest(ARRAY['rsi', 'macd']) n, unnest(ARRAY[1, 5]) h, {TIMES.format("3 hours")}
    """,
    "trends": f"""
        INSERT INTO trends (subject, span, as_of, bars, missing, computed_at)
        SELECT 'asset-' || i, s, o, 1, 0, o FROM generate_series(1, 40) i, unnest(ARRAY['7d', '30d']) s,
            {TIMES.format("1 day")}
    """,
    "rank_history": f"""
        INSERT INTO rank_history (source, asset_id, day, cap_rank, entered, dropped, computed_at)
        SELECT 'coingecko', 'asset-' || i, o, i, false, false, o FROM generate_series(1, 100) i,
            {TIMES.format("1 day")}
    """,
    "asset_views": f"""
        INSERT INTO asset_views (asset_id, as_of, rank, signals, members, computed_at)
        SELECT 'asset-' || i, o, i, 1, '{{}}', o FROM generate_series(1, 20) i, {TIMES.format("6 hours")}
    """,
    "portfolio_weights": f"""
        INSERT INTO portfolio_weights (portfolio, as_of, asset_id, weight, computed_at)
        SELECT p, o, 'asset-' || i, 0.1, o FROM generate_series(1, 30) i, unnest(ARRAY['a', 'b']) p,
            {TIMES.format("1 day")}
    """,
    "portfolio_runs": f"""
        INSERT INTO portfolio_runs (portfolio, as_of, state, reason, left_out, inputs, inputs_hash, parameter_hash,
            computed_at)
        SELECT p, o, 'ok', '', '{{}}', '{{}}', 'h', 'h', o FROM unnest(ARRAY['a', 'b']) p, {TIMES.format("1 day")}
    """,
}


@pytest.fixture(scope="module")
def filled(cluster):
    """Tables that are large enough for an index to be worth it."""
    url = cluster.create_database()
    database = Database(url, clock=SystemClock())
    with database.transaction() as connection:
        timeseries.ensure_partitions(connection, "derived_metrics", MONTHS)
        for insert in FILLED.values():
            connection.execute(text(insert))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"VACUUM ANALYZE {', '.join(FILLED)}"))
    yield database
    database.close()
    cluster.drop(url)


C3 = "okx:C3-USDT:perp"
AT = "2025-10-05T00:00:00.000000Z"
RULE = ["1h", "macd", "h", 1]
SINCE, UNTIL = datetime(2025, 9, 1, tzinfo=UTC), datetime(2025, 9, 8, tzinfo=UTC)
ANY_METRIC = {"only_measure": None, "only_span": None}
ONE_METRIC = {"measure": "price", "span": "15m", "only_measure": "price", "only_span": "15m"}
ASKS = [
    (topics.DERIVED, {"filters": {"instrument": C3}}),
    (topics.DERIVED, {"filters": {"instrument": C3, "measure": "price", "span": "15m"}}),
    (topics.DERIVED, {"filters": {"instrument": C3}, "after": [AT, "price", "15m"]}),
    (topics.DERIVED, {"filters": {"instrument": C3}, "after": [AT, "price", "15m"], "newest_first": False}),
    (topics.DERIVED, {"filters": {"instrument": C3}, "since": SINCE, "until": UNTIL}),
    (topics.LATEST_DERIVED, {"filters": ANY_METRIC}),
    (topics.LATEST_DERIVED, {"filters": ONE_METRIC}),
    (topics.LATEST_DERIVED, {"filters": ANY_METRIC, "after": ["okx:C2-USDT:perp", "price", "15m"]}),
    (topics.SIGNALS, {}),
    (topics.SIGNALS, {"after": [AT, 3, *RULE]}),
    (topics.SIGNALS, {"filters": {"kind": "rsi"}, "newest_first": False}),
    (topics.SIGNALS_OF_ONE, {"filters": {"instrument": C3}}),
    (topics.SIGNALS_OF_ONE, {"filters": {"instrument": C3, "kind": "funding"}}),
    (topics.SIGNALS_OF_ONE, {"filters": {"instrument": C3}, "after": [AT, *RULE]}),
    (topics.LATEST_SIGNALS, {}),
    (topics.LATEST_SIGNALS, {"filters": {"kind": "rsi"}, "after": ["okx:C2-USDT:perp", *RULE]}),
    (topics.SIGNAL_OUTCOMES, {}),
    (topics.SIGNAL_OUTCOMES, {"after": [AT, 3, *RULE, 5]}),
    (topics.SIGNAL_OUTCOMES_OF_ONE, {"filters": {"instrument": C3}, "after": [AT, *RULE, 5]}),
    (topics.PERFORMANCE, {"filters": {"given_since": SINCE, "given_until": UNTIL}}),
    (topics.LATEST_TRENDS, {}),
    (topics.TRENDS, {"filters": {"subject": "asset-3"}}),
    (topics.RANKS, {"filters": {"asset_id": "asset-3"}}),
    (topics.RANKS, {"filters": {"asset_id": "asset-3"}, "after": [AT, "coingecko"]}),
    (topics.RANK_DAYS, {"filters": {"moment": None}}),
    (topics.VIEWS, {"filters": {"asset_id": "asset-3"}, "after": [AT]}),
    (topics.LATEST_VIEWS, {"filters": {"moment": None}}),
    (topics.WEIGHTS, {"filters": {"portfolio": "a"}, "after": [AT, "asset-3"]}),
]
BIG = "derived_metrics|signals|signal_outcomes|trends|rank_history|asset_views|portfolio_weights"
MOST_READ = 1_500  # rows that any step of a plan may see, of tables with 9,000 to 210,000


@pytest.mark.parametrize("number", range(len(ASKS)))
def test_a_page_is_found_by_an_index_and_reads_little_more_than_its_rows(filled, number):
    topic, asked = ASKS[number]
    query, values = statement(topic, Ask(limit=10, **asked))
    with filled.reading() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS OFF) {query}", values)
        lines = [row[0] for row in cursor.fetchall()]
    plan = "\n".join(lines)
    assert not re.search(rf"Seq Scan on ({BIG})\w* .*rows=[1-9]", plan), plan
    steps = re.findall(r"rows=([\d.]+) loops=(\d+)", plan)
    assert max(float(rows) * int(loops) for rows, loops in steps) <= MOST_READ, plan
    removed = [int(count) for count in re.findall(r"Rows Removed by Filter: (\d+)", plan)]
    assert max(removed, default=0) <= MOST_READ, plan

"""Trends, signals, portfolios and backtests as a user meets them: one collected cycle, then the commands."""

import csv
import io
import math
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import stdev

import pytest

from tests.acceptance.program import CLOCK

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def collected(install, venues):
    """An installation with one cycle of each cadence, and what `once` said."""
    program = install(venues.base_urls, COLLECTOR_ANALYTICS__ENABLED="true")
    for cadence in ("daily", "hourly", "market"):
        done = program.run("once", "--cadence", cadence)
        assert done.status == 0, done.err
    return program


def test_a_cycle_leaves_trends_signals_views_ranks_derived_metrics_and_a_portfolio(collected):
    for table in ("trends", "breadth", "derived_metrics", "rank_history", "signals", "asset_views", "signal_outcomes"):
        assert collected.value(f"SELECT count(*) FROM {table}") > 0, table
    state, reason = collected.rows("SELECT state, reason FROM portfolio_runs ORDER BY as_of DESC LIMIT 1")[0]
    assert (state, bool(reason)) == ("ok", True)
    total = collected.value(
        "SELECT sum(weight) FROM portfolio_weights WHERE as_of = (SELECT max(as_of) FROM portfolio_weights)"
    )
    assert total == pytest.approx(1, abs=1e-9)
    last = collected.value("SELECT max(cycle_id) FROM cycles")
    assert collected.rows("SELECT DISTINCT cycle_id FROM derived_metrics ORDER BY 1 DESC")[0] == (last,)


def test_trends_are_those_of_the_stored_candles(collected):
    """The change and the volatility of one series, worked out here from its closes."""
    told = collected.run("trends", "okx:BTC-USDT:perp", "--span", "30d", "--json")
    assert told.status == 0, told.err
    (trend,) = told.json
    closes = [
        float(close)
        for (close,) in collected.rows(
            "SELECT close FROM v_candles WHERE instrument = 'okx:BTC-USDT:perp' AND interval = '1d' "
            "ORDER BY open_time DESC LIMIT 31"
        )
    ][::-1]
    returns = [math.log(now / before) for before, now in pairwise(closes)]
    assert trend["change"] == pytest.approx(closes[-1] / closes[0] - 1)
    assert trend["volatility"] == pytest.approx(stdev(returns) * math.sqrt(365))
    assert trend["bars"] == 30


def test_what_is_told_of_a_past_moment_uses_nothing_later(collected):
    moment = CLOCK.now().replace(hour=0, minute=0, second=0, microsecond=0) - 20 * DAY
    told = collected.run("trends", "okx:BTC-USDT:perp", "--span", "7d", "--as-of", moment.isoformat(), "--json")
    (trend,) = told.json
    assert datetime.fromisoformat(trend["as_of"]) == moment
    price = collected.value(
        "SELECT close::float8 FROM v_candles "
        "WHERE instrument = 'okx:BTC-USDT:perp' AND interval = '1d' AND open_time = %s",
        moment - DAY,
    )
    assert trend["last_price"] == price


def test_signals_come_as_a_table_as_json_and_as_csv(collected):
    table, whole, text = (collected.run("signals", *words) for words in ((), ("--json",), ("--csv",)))
    assert (table.status, whole.status, text.status) == (0, 0, 0), table.err
    assert table.out.startswith("SIMULATED data (made-up prices); views as of")
    assets = [row["asset_id"] for row in whole.json]
    assert assets == [row["asset_id"] for row in csv.DictReader(io.StringIO(text.out))]
    assert [row["rank"] for row in whole.json] == list(range(1, len(assets) + 1))
    assert all(asset in table.out for asset in assets)


def test_a_second_run_gives_no_signal_twice_and_takes_none_back(collected):
    before = collected.rows("SELECT instrument_id, interval, name, bar_end, strength FROM signals ORDER BY 1, 2, 3, 4")
    again = collected.run("signals", "--store")
    assert again.status == 0, again.err
    after = collected.rows("SELECT instrument_id, interval, name, bar_end, strength FROM signals ORDER BY 1, 2, 3, 4")
    assert set(before) <= set(after)
    assert len(after) == len({row[:4] for row in after})


def test_the_portfolio_can_be_seen_and_kept(collected):
    told = collected.run("portfolio", "--json", "--store")
    assert told.status == 0, told.err
    weights = told.json["weights"]
    assert sum(row["weight"] for row in weights) == pytest.approx(1, abs=1e-9)
    assert all(0 <= row["weight"] <= 0.3 + 1e-9 for row in weights)
    history = collected.run("portfolio", "--history", "--json").json
    assert history[0]["state"] == "ok"


def test_a_backtest_ends_with_figures_and_a_report_that_needs_no_network(collected):
    file = collected.folder / "report.html"
    done = collected.run("backtest", "ema_cross", "--pairs", "5/20", "--report", str(file))
    assert done.status == 0, done.err
    assert "look-ahead test: 5 decisions repeated on cut data, 0 differ" in done.out
    page = file.read_text(encoding="utf-8")
    assert "Simulated data" in page
    assert "<script src=" not in page
    again = [
        collected.run("backtest", "ema_cross", "--pairs", "5/20", "--to", "2026-11-01", "--json").json for _ in "ab"
    ]
    assert again[0] == again[1]


def test_a_sweep_shows_each_pair_once(collected):
    done = collected.run("backtest", "ema_cross", "--sweep", "5..10:5,20..40:20", "--json")
    assert sorted((row["fast"], row["slow"]) for row in done.json) == [(5, 20), (5, 40), (10, 20), (10, 40)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("trends", "--as-of", "yesterday"), "--as-of: 'yesterday' is no time"),
        (("trends", "--span", "3d"), "--span: '3d' is not computed; use one of 7d, 30d, 90d, 365d"),
        (("portfolio", "--as-of", "2020-01-01"), "no portfolio as of 2020-01-01 00:00:00"),
        (("backtest", "ema_cross", "--pairs", "26/12"), "ema_cross"),
        (("backtest", "hold", "--assets", "nonsense"), "--assets: no 1d bars of nonsense"),
        (("backtest", "hold", "--from", "2130-01-01"), "--from: 2130-01-01 is in the future"),
        (
            ("backtest", "hold", "--from", "2026-02-01", "--to", "2026-01-01"),
            "--from: 2026-02-01 is not before the end",
        ),
        (("backtest", "hold", "--report", "/nowhere/at/all.html"), "--report: /nowhere/at/all.html cannot be written"),
        (("backtest", "ema_cross", "--sweep", "1..1000,1..1000"), "--sweep: 1,000,000 pairs are too many"),
        (("trends", "bitcoin", "--since", "2130-01-01"), "--since: 2130-01-01 is in the future"),
        (("backtest", "hold", "--fee", "2"), "fee: 2.0 is not between 0 and 0.5"),
        (("backtest", "ema_cross", "--sweep", "a,b"), "--sweep: 'a' is no range of bars"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(collected, words, said):
    done = collected.run(*words)
    assert done.status == 2, done.out
    assert said in done.complaint


def test_an_empty_database_says_where_rows_come_from(tmp_path, venues, install):
    program = install(venues.base_urls, COLLECTOR_ANALYTICS__ENABLED="true")
    program.environment.pop("COLLECTOR_DATABASE__URL")
    for command in (("trends",), ("signals",), ("portfolio",), ("backtest", "hold")):
        done = program.run(*command)
        assert done.status == 2, done.out
        assert "the database is empty" in done.complaint

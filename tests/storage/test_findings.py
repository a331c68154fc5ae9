"""What the analytics computed, into its tables: once, all or nothing, and signals never change."""

import math
import time
from datetime import UTC, datetime, timedelta

import pytest

from collector.clock import ManualClock
from collector.errors import StorageRejected
from collector.storage.database import Database
from collector.storage.findings import Findings
from collector.storage.models import ANALYTICS
from tests.storage.samples import BTC, NOON, batch, candle, perp

DAY = datetime(2026, 1, 31, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)


@pytest.fixture
def clock():
    return ManualClock(NOON)


@pytest.fixture
def findings(database, clock):
    opened = Database(database.url.render_as_string(hide_password=False), clock=clock)
    yield Findings(opened)
    opened.close()


@pytest.fixture
def known(writer, cycle):
    """Two instruments that rows can be about."""
    writer.write(cycle, [batch(candle(), candle(instrument=perp("ETH")))])


def equity(day=DAY, **changes):
    values = {
        "portfolio": "p",
        "day": day,
        "equity": 1.5,
        "bitcoin": 1.25,
        "market": None,
        "turnover": 0.5,
        "fees": 0.0,
    }
    return {**values, **changes}


def metric(**changes):
    values = {
        "instrument": BTC.id,
        "measure": "price",
        "span": "20",
        "observed_at": NOON,
        "value": 100.0,
        "gradient": 0.5,
        "gradient_relative": 0.005,
        "mean": 99.0,
        "deviation": 2.0,
        "zscore": 0.5,
        "samples": 20,
    }
    return {**values, **changes}


def signal(**changes):
    values = {
        "instrument": BTC.id,
        "interval": "1h",
        "name": "ema_cross_12_26",
        "parameter_hash": "abc",
        "version": 1,
        "bar_end": NOON,
        "kind": "ema_cross",
        "direction": 1,
        "state": "bullish",
        "strength": 0.5,
        "price": 100.0,
        "window_since": NOON - timedelta(hours=9),
        "window_until": NOON,
        "bars": 10,
        "parameters": {"fast": 12, "slow": 26},
        "inputs_hash": "def",
    }
    return {**values, **changes}


def revision(**changes):
    left_out = ("window_since", "window_until", "bars", "parameters")
    values = {name: value for name, value in signal().items() if name not in left_out}
    return {**values, "revision": 1, "differs": ("direction", "strength"), "cause": "inputs", **changes}


def view(**changes):
    values = {
        "asset_id": "bitcoin",
        "as_of": NOON,
        "score": 0.25,
        "zscore": None,
        "rank": 1,
        "confidence": 0.5,
        "agreement": 1.0,
        "coverage": 0.5,
        "signals": 2,
        "members": {"rsi 1h": {"weight": 1.0, "strength": 0.25, "signals": {"a": 0.25}}},
    }
    return {**values, **changes}


def test_values_come_back_in_their_columns(findings, known, cycle, rows):
    assert findings.store({"derived_metrics": [metric()]}, cycle_id=cycle) == {"derived_metrics": 1}
    assert rows(
        "SELECT instrument, measure, span, t.observed_at, value, gradient, gradient_relative, mean, deviation, zscore, "
        "samples, computed_at, cycle_id FROM derived_metrics t JOIN instruments i USING (instrument_id)"
    ) == [(BTC.id, "price", "20", NOON, 100.0, 0.5, 0.005, 99.0, 2.0, 0.5, 20, NOON, cycle)]


def test_a_signal_comes_back_in_its_columns(findings, known, rows):
    findings.store({"signals": [signal()]})
    columns = [name for name in signal() if name != "instrument"]
    (stored,) = rows(f"SELECT {', '.join(columns)}, computed_at, cycle_id FROM signals")
    assert stored == (*(signal()[name] for name in columns), NOON, None)


def test_what_differs_in_a_revision_is_kept_as_a_list(findings, known, rows):
    findings.store({"signals": [signal()], "signal_revisions": [revision(), revision(revision=2, differs=("gone",))]})
    assert rows("SELECT revision, differs FROM signal_revisions ORDER BY revision") == [
        (1, ["direction", "strength"]),
        (2, ["gone"]),
    ]


def test_nested_values_come_back_as_they_were(findings, rows):
    findings.store({"asset_views": [view()]})
    assert rows("SELECT members, zscore FROM asset_views") == [(view()["members"], None)]


def test_the_same_rows_again_write_nothing_and_keep_their_time(findings, known, clock, rows):
    found = {"paper_equity": [equity()], "derived_metrics": [metric(zscore=None)], "asset_views": [view()]}
    assert set(findings.store(found).values()) == {1}
    clock.advance(300)
    assert findings.store(found, cycle_id=None) == {"paper_equity": 0, "derived_metrics": 0, "asset_views": 0}
    assert rows("SELECT computed_at FROM paper_equity") == [(NOON,)]
    assert rows("SELECT computed_at FROM derived_metrics") == [(NOON,)]


def test_a_row_that_says_something_else_is_updated_with_its_time_and_the_others_are_not(findings, clock, rows):
    findings.store({"paper_equity": [equity(), equity(DAY + timedelta(days=1))]})
    clock.advance(300)
    changed = [equity(market=1.75), equity(DAY + timedelta(days=1))]
    assert findings.store({"paper_equity": changed}) == {"paper_equity": 1}
    assert rows("SELECT market, computed_at FROM paper_equity ORDER BY day") == [(1.75, LATER), (None, NOON)]


def test_a_changed_value_inside_json_is_a_change(findings, rows):
    told = {"asset_id": "bitcoin", "as_of": NOON, "alpha": 0.0, "r_squared": 0.5, "bars": 90, "reason": ""}
    findings.store({"factor_exposures": [{**told, "betas": {"market": 1.0}}]})
    assert findings.store({"factor_exposures": [{**told, "betas": {"market": 1.5}}]}) == {"factor_exposures": 1}
    assert rows("SELECT betas FROM factor_exposures") == [({"market": 1.5},)]


def test_a_view_stays_as_it_was_told(findings, rows):
    findings.store({"asset_views": [view()]})
    assert findings.store({"asset_views": [view(members={"rsi 1h": {}})]}) == {"asset_views": 0}


def test_a_signal_stays_as_it_was_given(findings, known, rows):
    findings.store({"signals": [signal()]})
    assert findings.store({"signals": [signal(direction=-1, strength=-0.5, inputs_hash="x")]}) == {"signals": 0}
    assert rows("SELECT direction, strength, inputs_hash FROM signals") == [(1, 0.5, "def")]


def test_a_revision_stays_as_it_was_given(findings, known, rows):
    findings.store({"signals": [signal()], "signal_revisions": [revision()]})
    assert findings.store({"signal_revisions": [revision(direction=None, state=None)]}) == {"signal_revisions": 0}
    assert rows("SELECT direction, state FROM signal_revisions") == [(1, "bullish")]


def test_what_is_no_finite_number_is_null_and_zero_is_zero(findings, rows):
    findings.store({"paper_equity": [equity(equity=math.nan, bitcoin=math.inf, market=-math.inf, turnover=0.0)]})
    assert rows("SELECT equity, bitcoin, market, turnover, fees FROM paper_equity") == [(None, None, None, 0.0, 0.0)]


def test_what_is_no_finite_number_inside_json_is_null(findings, rows):
    findings.store({"asset_views": [view(members={"a": [1.0, math.nan], "b": {"c": math.inf}})]})
    assert rows("SELECT members FROM asset_views") == [({"a": [1.0, None], "b": {"c": None}},)]


def test_one_bad_row_keeps_every_table_of_its_call_out(findings, known, rows):
    late = {"portfolio_runs": [run(state="perhaps")]}
    with pytest.raises(StorageRejected):
        findings.store({"paper_equity": [equity()], "signals": [signal()], **late})
    assert rows("SELECT (SELECT count(*) FROM paper_equity), (SELECT count(*) FROM signals)") == [(0, 0)]


def run(**changes):
    nothing = dict.fromkeys(("expected_return", "expected_volatility", "turnover", "shrinkage", "condition", "assets"))
    values = {"portfolio": "p", "as_of": NOON, "state": "refused", "reason": "no caps", "left_out": {}, "inputs": {}}
    return {**nothing, **values, "inputs_hash": "", "parameter_hash": "", **changes}


def test_an_unknown_instrument_is_an_error_and_nothing_lands(findings, known, rows):
    with pytest.raises(KeyError, match="DOGE"):
        findings.store({"paper_equity": [equity()], "derived_metrics": [metric(instrument=perp("DOGE").id)]})
    assert rows("SELECT count(*) FROM paper_equity") == [(0,)]


def test_a_row_that_lacks_a_column_is_an_error(findings):
    with pytest.raises(KeyError, match="turnover"):
        findings.store({"paper_equity": [{name: value for name, value in equity().items() if name != "turnover"}]})


def test_an_unknown_table_is_an_error(findings):
    with pytest.raises(KeyError, match="horoscopes"):
        findings.store({"horoscopes": [{}]})


def test_nothing_found_writes_nothing(findings):
    assert findings.store({}) == {}
    assert findings.store({"signals": [], "paper_equity": []}) == {}


def test_months_that_have_no_place_yet_get_one(findings, known, rows):
    far = datetime(2031, 7, 1, tzinfo=UTC)
    findings.store({"derived_metrics": [metric(), metric(observed_at=far), metric(observed_at=far, span="5m")]})
    found = rows("SELECT tableoid::regclass::text, count(*) FROM derived_metrics GROUP BY 1 ORDER BY 1")
    assert found == [("derived_metrics_2026_01", 1), ("derived_metrics_2031_07", 2)]


def test_a_key_that_comes_twice_in_one_call_keeps_its_last_row(findings, known, rows):
    assert findings.store({"derived_metrics": [metric(value=1.0), metric(value=2.0)]}) == {"derived_metrics": 1}
    assert rows("SELECT value FROM derived_metrics") == [(2.0,)]


def test_every_table_of_the_analytics_says_when_and_in_which_cycle_it_was_computed():
    for table in ANALYTICS:
        assert {"computed_at", "cycle_id"} <= set(table.columns.keys()), table.name


def test_ten_thousand_rows_take_little_time_and_the_same_again_too(findings, known):
    spans = [metric(span=f"{number}m", value=float(number)) for number in range(10_000)]
    started = time.perf_counter()
    assert findings.store({"derived_metrics": spans}) == {"derived_metrics": 10_000}
    assert findings.store({"derived_metrics": spans}) == {"derived_metrics": 0}
    assert time.perf_counter() - started < 10  # 1 s here; a statement per row would take a minute

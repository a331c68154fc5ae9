"""Hand-written rows of every table of the analytics, for tests to change one thing at a time."""

from datetime import timedelta

from tests.storage.samples import BTC, NOON, perp

ETH = perp("ETH")
DAY = timedelta(days=1)
MIDNIGHT = NOON.replace(hour=0)
PORTFOLIO = "black_litterman"
COMPUTED = {"computed_at": "2026-01-31T12:05:00.000Z", "cycle_id": 1}


def trend(subject="bitcoin", span="30d", as_of=NOON, **changes):
    values = {
        "bars": 30,
        "missing": 2,
        "first_price": 90000.5,
        "last_price": 99000.25,
        "change": 0.1,
        "volatility": 0.55,
        "volatility_parkinson": 0.5,
        "volatility_garman_klass": 0.45,
        "drawdown": -0.02,
        "max_drawdown": -0.3,
        "slope": 0.003,
        "strength": 0.8,
        "sma_fast": 98000.0,
        "sma_slow": 95000.0,
        "ma_state": 1,
        "ma_bars": 4,
        "volume": 12345.5,
        "volume_change": -0.25,
        "poc_price": 94000.0,
        "value_area_low": 91000.0,
        "value_area_high": 97000.0,
        "correlation_bitcoin": 1.0,
        "beta_bitcoin": 1.01,
        "correlation_market": 0.95,
        "beta_market": 0.9,
    }
    return {"subject": subject, "span": span, "as_of": as_of, **values, **changes}


def breadth(span="30d", as_of=NOON):
    return {
        "span": span,
        "as_of": as_of,
        "assets": 100,
        "advancing": 60,
        "declining": 35,
        "unchanged": 5,
        "sma_assets": 90,
        "above_sma": 45,
        "new_highs": 3,
        "new_lows": 1,
        "advance_share": 0.6,
    }


def metric(instrument=BTC, measure="price", span="15m", at=NOON, **changes):
    values = {
        "value": 100.5,
        "gradient": 0.25,
        "gradient_relative": 0.0025,
        "mean": 100.0,
        "deviation": 0.5,
        "zscore": 1.0,
        "samples": 15,
    }
    return {
        "instrument": instrument.id,
        "measure": measure,
        "span": span,
        "observed_at": at,
        **values,
        **changes,
    }


def ranked(asset_id="bitcoin", cap_rank=1, day=MIDNIGHT, **changes):
    values = {
        "source": "coingecko",
        "rank": cap_rank,
        "market_cap_usd": 2e12,
        "price_usd": 100000.5,
        "observed_at": day + timedelta(hours=11),
        "entered": False,
        "dropped": False,
    }
    return {"asset_id": asset_id, "cap_rank": cap_rank, "day": day, **values, **changes}


def signal(instrument=BTC, bar_end=NOON, name="ema_cross_12_26", **changes):
    values = {
        "interval": "1h",
        "parameter_hash": "0123456789abcdef",
        "version": 1,
        "kind": "ema_cross",
        "direction": 1,
        "state": "fast above slow",
        "strength": 0.75,
        "price": 100.25,
        "window_since": bar_end - 30 * timedelta(hours=1),
        "window_until": bar_end,
        "bars": 31,
        "parameters": {"fast": 12, "slow": 26},
        "inputs_hash": "fedcba9876543210",
    }
    return {"instrument": instrument.id, "bar_end": bar_end, "name": name, **values, **changes}


def revision(instrument=BTC, number=1, **changes):
    values = {
        "interval": "1h",
        "name": "ema_cross_12_26",
        "parameter_hash": "0123456789abcdef",
        "version": 1,
        "bar_end": NOON,
        "kind": "ema_cross",
        "differs": ["strength", "price"],
        "cause": "inputs",
        "direction": 1,
        "state": "fast above slow",
        "strength": 0.5,
        "price": 100.5,
        "inputs_hash": "00ff",
    }
    return {"instrument": instrument.id, "revision": number, **values, **changes}


def outcome(instrument=BTC, bar_end=NOON, horizon=5, **changes):
    values = {
        "interval": "1h",
        "name": "ema_cross_12_26",
        "parameter_hash": "0123456789abcdef",
        "version": 1,
        "kind": "ema_cross",
        "direction": 1,
        "exit_end": bar_end + horizon * timedelta(hours=1),
        "status": "done",
        "entry_price": 100.0,
        "exit_price": 102.0,
        "forward_return": 0.02,
        "hit": True,
    }
    return {"instrument": instrument.id, "bar_end": bar_end, "horizon": horizon, **values, **changes}


def view(asset_id="bitcoin", rank=1, as_of=NOON, **changes):
    values = {
        "score": 0.6,
        "zscore": 1.5,
        "confidence": 0.7,
        "agreement": 0.9,
        "coverage": 0.75,
        "signals": 6,
        "members": {"okx:BTC-USDT:perp/1h/ema_cross_12_26": 0.75},
    }
    return {"asset_id": asset_id, "rank": rank, "as_of": as_of, **values, **changes}


def factor(name="size", day=MIDNIGHT, **changes):
    values = {"value": 0.0125, "long_assets": 10, "short_assets": 11, "reason": ""}
    return {"factor": name, "day": day, **values, **changes}


def run(as_of=NOON, portfolio=PORTFOLIO, **changes):
    values = {
        "state": "ok",
        "reason": "",
        "expected_return": 0.2,
        "expected_volatility": 0.6,
        "turnover": 0.15,
        "shrinkage": 0.3,
        "condition": 42.5,
        "assets": 2,
        "left_out": {"tether": "a stablecoin"},
        "inputs": {"caps": {"bitcoin": 2e12, "ethereum": 4e11}},
        "inputs_hash": "aa11",
        "parameter_hash": "bb22",
    }
    return {"portfolio": portfolio, "as_of": as_of, **values, **changes}


def weight(asset_id="bitcoin", share=0.7, as_of=NOON, portfolio=PORTFOLIO, **changes):
    values = {
        "market_weight": 0.8,
        "view_return": 0.25,
        "confidence": 0.65,
        "prior_return": 0.3,
        "posterior_return": 0.28,
        "previous_weight": None,
    }
    return {"portfolio": portfolio, "as_of": as_of, "asset_id": asset_id, "weight": share, **values, **changes}


def coefficient(as_of=NOON, horizon=5, value=0.08):
    return {"as_of": as_of, "horizon": horizon, "assets": 90, "value": value}


def equity(day=MIDNIGHT, portfolio=PORTFOLIO, **changes):
    values = {"equity": 1.05, "bitcoin": 1.1, "market": 1.02, "turnover": None, "fees": 0.0}
    return {"portfolio": portfolio, "day": day, **values, **changes}


def everything():
    """Return rows of every table, with two moments of each."""
    days = (NOON, NOON - DAY)
    midnights = [day.replace(hour=0) for day in days]
    return {
        "trends": [trend(subject, as_of=at) for subject in ("bitcoin", "ethereum", BTC.id) for at in days],
        "breadth": [breadth(span, at) for span in ("7d", "30d") for at in days],
        "derived_metrics": [metric(measure=name, at=at) for name in ("price", "volume") for at in days],
        "rank_history": [ranked(*who, day=day) for who in (("bitcoin", 1), ("ethereum", 2)) for day in midnights],
        "signals": [signal(who, at) for who in (BTC, ETH) for at in days],
        "signal_revisions": [revision(number=number) for number in (1, 2)],
        "asset_views": [view(*who, as_of=at) for who in (("bitcoin", 1), ("ethereum", 2)) for at in days],
        "factor_returns": [factor(day=day) for day in midnights],
        "portfolio_runs": [run(at) for at in days],
        "portfolio_weights": [weight(*who, as_of=at) for who in (("bitcoin", 0.7), ("ethereum", 0.3)) for at in days],
        "signal_outcomes": [outcome(bar_end=at, horizon=bars) for at in days for bars in (1, 5)],
        "information_coefficients": [coefficient(at) for at in days],
        "paper_equity": [equity(day) for day in midnights],
    }

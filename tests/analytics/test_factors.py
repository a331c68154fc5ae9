"""Factors and betas, against small examples worked out by hand, plain loops and other libraries."""

import statistics
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LinearRegression

from collector.analytics.factors import FACTORS, FactorParameters, FactorReturn, exposures, factor_returns

START = datetime(2026, 1, 1, tzinfo=UTC)
NINE = list("abcdefghi")
SHORT = FactorParameters(momentum_days=2, momentum_skip=1, volatility_days=2, liquidity_days=2)


def day(number):
    return START + timedelta(days=number)


def table(rows, names=NINE):
    """A frame of days from rows of values."""
    return pd.DataFrame(rows, index=pd.DatetimeIndex([day(n) for n in range(len(rows))]), columns=names, dtype=float)


def closes_of(returns):
    """Closes that begin at 100 and have these daily returns."""
    return table(100 * np.cumprod(1 + np.array([[0.0] * len(NINE), *returns]), axis=0))


def flat(days, value=1.0):
    return table([[value] * len(NINE)] * days)


def earned(rows, factor, number):
    return next(row for row in rows if (row.factor, row.day) == (factor, day(number)))


def test_market_and_size_are_weighted_by_the_caps_of_the_day_before():
    closes = closes_of([[0.1, 0.2, 0.3, 0.15, 0.0, 0.0, -0.1, -0.2, 0.1]])
    caps = table([[1, 2, 3, 4, 5, 6, 7, 8, 9], [900, 800, 700, 600, 500, 400, 300, 200, 100]])
    rows = factor_returns(closes, caps, flat(2), SHORT)
    # a b c: 0.1 + 0.4 + 0.9 = 1.4 of 6; g h i: -0.7 - 1.6 + 0.9 = -1.4 of 24; all: 1.4 + 0.6 - 1.4 = 0.6 of 45.
    assert earned(rows, "market", 1).value == pytest.approx(0.6 / 45, rel=1e-12)
    assert earned(rows, "size", 1).value == pytest.approx(1.4 / 6 + 1.4 / 24, rel=1e-12)
    assert (earned(rows, "size", 1).long_assets, earned(rows, "size", 1).short_assets) == (3, 3)
    assert (earned(rows, "market", 1).long_assets, earned(rows, "market", 1).short_assets) == (9, None)


def test_momentum_looks_past_the_last_day_before():
    # Two days make winners of g h i, the third turns everything round; day 4 is what is earned: 2 % against -3 %.
    rising = [0.01 * n for n in range(1, 10)]
    closes = closes_of([rising, rising, [-0.5 * n / 10 for n in range(9)], [-0.03] * 3 + [0.5] * 3 + [0.02] * 3])
    rows = factor_returns(closes, flat(5), flat(5), SHORT)
    assert earned(rows, "momentum", 4).value == pytest.approx(0.05, rel=1e-12)
    without_skip = factor_returns(closes, flat(5), flat(5), replace(SHORT, momentum_skip=0, momentum_days=1))
    assert earned(without_skip, "momentum", 4).value == pytest.approx(-0.05, rel=1e-12)


def test_volatility_is_calm_minus_wild():
    # Returns of +n % and -n % deviate by n * sqrt(2) %; on day 3 asset n earns n %: 2 % against 8 %.
    ups = [0.01 * n for n in range(1, 10)]
    rows = factor_returns(closes_of([ups, [-up for up in ups], ups]), flat(4), flat(4), SHORT)
    assert earned(rows, "volatility", 3).value == pytest.approx(-0.06, rel=1e-9)


def test_liquidity_is_little_traded_minus_much_traded():
    # All move by 1 %, asset n trades n * n units of money: a b c are the illiquid ones.
    returns = [[0.01] * 9, [-0.01] * 9, [0.01 * n for n in range(1, 10)]]
    volumes = table([[n * n for n in range(1, 10)]] * 4)
    rows = factor_returns(closes_of(returns), flat(4), volumes, SHORT)
    assert earned(rows, "liquidity", 3).value == pytest.approx(-0.06, rel=1e-9)


def test_day_without_volume_keeps_an_asset_out_of_liquidity_alone():
    returns = [[0.01] * 9, [-0.01] * 9, [0.01 * n for n in range(1, 10)]]
    volumes = flat(4)
    volumes.loc[day(1), "a"] = 0.0
    rows = factor_returns(closes_of(returns), flat(4), volumes, SHORT)
    told = earned(rows, "liquidity", 3)
    assert (told.value, told.long_assets, told.short_assets, told.reason) == (None, 2, 2, "too_few_assets")  # 8 // 3
    assert earned(rows, "volatility", 3).reason == ""


def test_first_days_say_that_the_history_is_short():
    rows = factor_returns(closes_of([[0.01] * 9] * 5), flat(6), flat(6), SHORT)
    first = {name: min(row.day for row in rows if row.factor == name and row.reason == "") for name in FACTORS}
    # A return needs a day before; volatility and liquidity two returns before that, momentum two days and one to skip.
    assert first == dict(zip(FACTORS, map(day, (1, 1, 4, 3, 3)), strict=True))
    assert {row.reason for row in rows if row.value is None} == {"short_history"}


def test_too_few_assets_have_no_factor_and_say_so():
    closes, names = closes_of([[0.01 * n for n in range(9)]]), NINE[:8]
    rows = factor_returns(closes[names], flat(2)[names], flat(2)[names], SHORT)
    told = earned(rows, "size", 1)
    assert (told.value, told.long_assets, told.short_assets, told.reason) == (None, 2, 2, "too_few_assets")
    assert earned(rows, "market", 1).value == pytest.approx(0.035, rel=1e-9)
    two = factor_returns(closes[["a", "b"]], flat(2), flat(2), SHORT)
    assert (earned(two, "market", 1).value, earned(two, "market", 1).reason) == (None, "too_few_assets")


def test_asset_without_a_close_today_stays_in_the_sorting_of_yesterday():
    closes = closes_of([[0.1, 0.2, 0.3, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0]])
    caps = table([[1, 2, 3, 4, 5, 6, 7, 8, 9]] * 2)
    closes.loc[day(1), "a"] = np.nan
    rows = factor_returns(closes, caps, flat(2), replace(SHORT, least_assets=2))
    told = earned(rows, "size", 1)  # d does not move up into the place of a
    assert told.value == pytest.approx((2 * 0.2 + 3 * 0.3) / 5, rel=1e-9)
    assert (told.long_assets, told.short_assets) == (2, 3)


def test_cap_that_is_not_told_is_no_cap_of_zero():
    closes, caps = closes_of([[0.1] * 8 + [0.9]]), flat(2)
    caps.loc[day(0), "i"] = np.nan
    told = earned(factor_returns(closes, caps.drop(columns="h"), flat(2), SHORT), "market", 1)
    assert (told.value, told.long_assets) == (pytest.approx(0.1, rel=1e-9), 7)


def test_nothing_gives_nothing():
    empty = pd.DataFrame()
    assert factor_returns(empty, empty, empty, SHORT) == []
    assert exposures(empty, [], SHORT) == []


@pytest.mark.parametrize("days", [(0, 2), (1, 0), (0, 0)], ids=["a day is left out", "descending", "twice"])
def test_index_must_hold_every_day_once(days):
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=pd.DatetimeIndex([day(n) for n in days]))
    with pytest.raises(ValueError, match="every day"):
        factor_returns(frame, frame, frame, SHORT)


def test_index_must_be_utc():
    frame = pd.DataFrame({"a": [1.0]}, index=pd.DatetimeIndex(["2026-01-01"]))
    with pytest.raises(ValueError, match="UTC"):
        exposures(frame, [], SHORT)


@pytest.mark.parametrize("wrong", [{"groups": 1}, {"least_assets": 0}, {"volatility_days": 1}, {"momentum_skip": -1}])
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ValueError, match="positive"):
        FactorParameters(**wrong)


# --------------------------------------------------------------------------- against plain loops


def market(seed, days, assets, missing):
    """Random closes, caps and volumes with holes."""
    rng = np.random.default_rng(seed)
    names = [f"asset {number:02}" for number in range(assets)]
    closes = table(np.exp(np.cumsum(rng.normal(0, 0.05, (days, assets)), axis=0)), names)
    caps, volumes = closes * rng.lognormal(10, 2, assets), closes * rng.lognormal(5, 1, (days, assets))
    return tuple(frame.mask(rng.random(frame.shape) < missing) for frame in (closes, caps, volumes))


def by_loops(closes, caps, volumes, number, parameters):
    """The same factors of one day, asset by asset."""

    def change(name, at, back=1):
        return closes[name].iloc[at] / closes[name].iloc[at - back] - 1

    before, sorted_by = number - 1, {"size": {}, "momentum": {}, "volatility": {}, "liquidity": {}}
    for name in closes:
        if np.isnan(caps[name].iloc[before]):
            continue
        window = range(before - parameters.volatility_days + 1, before + 1)
        changes = [change(name, at) for at in window]
        impact = [abs(change(name, at)) / volumes[name].iloc[at] for at in window]
        found = {
            "size": -caps[name].iloc[before],
            "momentum": change(name, before - parameters.momentum_skip, parameters.momentum_days),
            "volatility": -statistics.stdev(changes) if not np.isnan(changes).any() else np.nan,
            "liquidity": statistics.fmean(impact),
        }
        for factor, value in found.items():
            if not np.isnan(value):
                sorted_by[factor][name] = value
    values = {}
    for factor, ranked in sorted_by.items():
        names = sorted(ranked, key=lambda name: ranked[name])
        legs = []
        for leg in (names[len(names) - len(names) // 3 :], names[: len(names) // 3]):
            told = [(caps[name].iloc[before], change(name, number)) for name in leg]
            told = [(cap, move) for cap, move in told if not np.isnan(move)]
            legs.append(sum(cap * move for cap, move in told) / sum(cap for cap, _ in told) if len(told) > 2 else None)
        values[factor] = None if None in legs else legs[0] - legs[1]
    return values


@pytest.mark.parametrize("missing", [0.0, 0.02])
def test_factors_equal_plain_loops(missing):
    closes, caps, volumes = market(3, 25, 30, missing)
    parameters = FactorParameters(momentum_days=7, momentum_skip=1, volatility_days=10, liquidity_days=10)
    rows = factor_returns(closes, caps, volumes, parameters)
    for number in range(12, 25):
        for factor, value in by_loops(closes, caps, volumes, number, parameters).items():
            assert value is not None
            assert earned(rows, factor, number).value == pytest.approx(value, rel=1e-9)


# --------------------------------------------------------------------------- laws

markets = st.builds(
    market, st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 14), st.sampled_from([0.0, 0.05, 0.5])
)
LAX = replace(SHORT, least_assets=1, exposure_days=10, least_days=3)


@settings(max_examples=50)
@given(markets, st.integers(0, 14))
def test_truncating_the_future_changes_nothing(frames, kept):
    rows = factor_returns(*frames, LAX)
    cut = [frame.iloc[:kept] for frame in frames]
    assert factor_returns(*cut, LAX) == rows[: len(FACTORS) * kept]
    assert exposures(cut[0], rows, LAX) == exposures(cut[0], factor_returns(*cut, LAX), LAX)


@settings(max_examples=50)
@given(markets)
def test_the_order_of_assets_does_not_matter(frames):
    turned = [frame[list(reversed(frame.columns))] for frame in frames]
    rows = factor_returns(*frames, LAX)
    assert factor_returns(*turned, LAX) == rows
    assert list(reversed(exposures(turned[0], rows, LAX))) == exposures(frames[0], rows, LAX)


@settings(max_examples=50)
@given(markets)
def test_scaling_a_price_or_the_currency_of_caps_and_volumes_changes_no_return(frames):
    closes, caps, volumes = frames
    scaled = closes * [2.0 ** (number % 7) for number in range(closes.shape[1])]
    rows = factor_returns(closes, caps, volumes, LAX)
    assert factor_returns(scaled, caps * 16, volumes * 1024, LAX) == rows
    assert exposures(scaled, rows, LAX) == exposures(closes, rows, LAX)


@settings(max_examples=50)
@given(markets)
def test_every_number_is_finite_or_none_with_a_reason(frames):
    rows = factor_returns(*frames, LAX)
    assert [row.factor for row in rows] == list(FACTORS) * len(frames[0])
    for row in rows:
        assert (row.value is None) == (row.reason != "")
        assert row.value is None or np.isfinite(row.value)
    for row in exposures(frames[0], rows, LAX):
        assert (row.alpha is None) == (row.reason != "")
        assert all(number is None or np.isfinite(number) for number in (row.alpha, row.r_squared, *row.betas.values()))


# --------------------------------------------------------------------------- betas


def given_factors(**values):
    """Factor returns from day 1 on."""
    return [
        FactorReturn(
            factor=name, day=day(n), value=v, long_assets=3, short_assets=3, reason="" if v is not None else "x"
        )
        for name, numbers in values.items()
        for n, v in enumerate(numbers, start=1)
    ]


def prices_of(returns, name="a"):
    return table(np.cumprod([1.0, *(1 + np.asarray(returns))])[:, None], [name])


def test_planted_betas_come_out():
    rng = np.random.default_rng(1)
    size, momentum = rng.normal(0.001, 0.03, 60), rng.normal(0, 0.02, 60)
    asset = prices_of(0.002 + 1.5 * size - 0.5 * momentum)
    found = exposures(asset, given_factors(size=size, momentum=momentum), FactorParameters())[0]
    assert (found.asset, found.as_of, found.bars, found.reason) == ("a", day(60), 60, "")
    assert found.alpha == pytest.approx(0.002, rel=1e-9)
    assert found.betas["size"] == pytest.approx(1.5, rel=1e-9)
    assert found.betas["momentum"] == pytest.approx(-0.5, rel=1e-9)
    assert [found.betas[name] for name in ("market", "volatility", "liquidity")] == [None] * 3
    assert found.r_squared == pytest.approx(1.0, rel=1e-9)


def test_beta_of_one_factor_equals_scipy():
    rng = np.random.default_rng(2)
    factor = rng.normal(0, 0.03, 80)
    moves = 0.8 * factor + rng.normal(0, 0.02, 80)
    found = exposures(prices_of(moves), given_factors(market=factor), FactorParameters())[0]
    line = stats.linregress(factor, moves)
    assert found.betas["market"] == pytest.approx(line.slope, rel=1e-9)
    assert found.alpha == pytest.approx(line.intercept, rel=1e-9)
    assert found.r_squared == pytest.approx(line.rvalue**2, rel=1e-9)


def test_betas_of_all_factors_equal_scikit_learn_and_lstsq_over_the_newest_days():
    closes, caps, volumes = market(4, 160, 40, 0.0)
    rows = factor_returns(closes, caps, volumes, FactorParameters())
    values = np.array([[earned(rows, name, number).value for name in FACTORS] for number in range(70, 160)])
    moves = closes.pct_change().iloc[70:]
    for found in exposures(closes, rows, FactorParameters())[:5]:
        plain = LinearRegression().fit(values, moves[found.asset])
        assert list(found.betas.values()) == pytest.approx(plain.coef_, rel=1e-8)
        assert found.r_squared == pytest.approx(plain.score(values, moves[found.asset]), rel=1e-8)
        with_ones = np.linalg.lstsq(np.column_stack([np.ones(90), values]), moves[found.asset], rcond=None)[0]
        assert [found.alpha, *found.betas.values()] == pytest.approx(with_ones, rel=1e-8)
        assert found.bars == 90


def test_missing_days_are_left_out_and_counted():
    rng = np.random.default_rng(3)
    factor = rng.normal(0, 0.03, 50)
    asset = prices_of(2 * factor)
    asset.loc[day(20), "a"] = np.nan  # two returns less
    values = [None if n == 40 else value for n, value in enumerate(factor)]
    found = exposures(asset, given_factors(market=values), FactorParameters())[0]
    assert (found.bars, found.betas["market"]) == (47, pytest.approx(2, rel=1e-9))


def test_reasons_why_there_are_no_betas():
    rng = np.random.default_rng(4)
    factor = rng.normal(0, 0.03, 50)
    asset = prices_of(2 * factor)
    twice = given_factors(market=factor, size=3 * factor)
    short = asset.where((asset.index >= day(30))[:, None])
    cases = {
        "no_factors": (asset, []),
        "collinear_factors": (asset, twice),
        "too_few_days": (short, given_factors(market=factor)),
    }
    for reason, (closes, rows) in cases.items():
        found = exposures(closes, rows, FactorParameters())[0]
        assert (found.reason, found.alpha, found.r_squared) == (reason, None, None)
        assert found.betas == dict.fromkeys(FACTORS)
    still = exposures(asset, given_factors(market=[0.1] * 50), FactorParameters())[0]
    assert still.reason == "collinear_factors"


def test_price_that_stands_still_has_betas_of_zero_and_nothing_to_explain():
    factor = np.random.default_rng(5).normal(0, 0.03, 50)
    found = exposures(prices_of([0.0] * 50), given_factors(market=factor), FactorParameters())[0]
    assert (found.alpha, found.betas["market"], found.r_squared) == (0.0, 0.0, None)

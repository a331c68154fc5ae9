"""The views of trends against the numbers of Python: the same, holes and short histories included."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import text

from collector.analytics.bars import BarPanel
from collector.analytics.trends import trends
from collector.records import Interval
from collector.storage.writer import Writer
from tests.storage.samples import NOON, batch, candle, perp

END = datetime(2026, 1, 31, tzinfo=UTC)
DAY = timedelta(days=1)
WINDOWS = {"7d": 7, "30d": 30, "90d": 90}
FIELDS = ("first_price", "last_price", "change", "volatility", "drawdown", "max_drawdown")
KEPT = {  # which of 120 days, the newest last
    "WHOLE": range(120),
    "YOUNG": range(100, 120),
    "HOLE": [day for day in range(120) if day not in (40, 41, 100)],
    "TORN": [day for day in range(120) if day % 5],
    "NOSTART": [day for day in range(120) if day not in (29, 89, 112)],
    "OLD": range(60),
    "ONE": [119],
}


def closes_of(base):
    random = np.random.default_rng(len(base))
    return [Decimal(f"{price:.6g}") for price in 100 * np.exp(random.normal(0, 0.05, 120).cumsum())]


def bar(base, day):
    close, opened = closes_of(base)[day], END - (119 - day) * DAY
    prices = {"open": close, "high": close * 2, "low": close / 2, "close": close}
    return candle(instrument=perp(base), interval=Interval.D1, open_time=opened, observed_at=opened + DAY, **prices)


def python_rows(base):
    index = pd.date_range(END + DAY - 119 * DAY, periods=120, freq="D", unit="s")
    close = pd.DataFrame(np.nan, index=index, columns=[perp(base).id])
    for day in KEPT[base]:
        close.iloc[day, 0] = float(closes_of(base)[day])
    close = close.iloc[: max(KEPT[base]) + 1]
    return trends(BarPanel(Interval.D1, close, close, close, close, close), WINDOWS)


@pytest.fixture
def rows(emptied):
    writer = Writer(emptied)
    cycle = writer.begin_cycle("market", NOON, instance="test:1", folder="f", simulated=True)
    for base, days in KEPT.items():
        writer.write(cycle, [batch(*(bar(base, day) for day in days))])
    with emptied.transaction() as connection:
        connection.execute(text("SET LOCAL TIME ZONE 'Europe/Berlin'"))
        found = connection.execute(text("SELECT * FROM v_price_trends")).mappings().all()
    return {(row["instrument"], row["span"]): row for row in found}


def test_the_views_say_what_python_says(rows):
    assert len(rows) == len(KEPT) * len(WINDOWS)
    told = 0
    for base in KEPT:
        for trend in python_rows(base):
            row = rows[trend.subject, trend.window]
            assert (row["as_of"], row["bars"], row["missing"]) == (trend.as_of, trend.bars, trend.missing)
            for field in FIELDS:
                value = getattr(trend, field)
                expected = None if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)
                assert row[field] == expected, (base, trend.window, field)
                told += row[field] is not None
    assert 60 < told < len(rows) * len(FIELDS)  # some are known, some are not

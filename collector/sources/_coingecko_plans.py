"""CoinGecko's subscriptions: their hosts, keys and limits, and how far back in time they reach."""

from collections.abc import Mapping
from datetime import timedelta

from collector.sources.base import Limit, Plan

CALLS = "calls"
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
MONTH = 31 * DAY  # credits renew by the calendar month; no month is longer


def _plan(*, pro: bool, key: bool, minute: int, month: int | None, history: timedelta | None) -> Plan:
    limits = [Limit(scope=CALLS, capacity=minute, window=MINUTE)]
    if month is not None:
        limits.append(Limit(scope=CALLS, capacity=month, window=MONTH))
    kind = "pro" if pro else "demo"
    return Plan(
        base_url=f"https://{'pro-api' if pro else 'api'}.coingecko.com/api/v3",
        limits=tuple(limits),
        key_header=f"x-cg-{kind}-api-key" if key else None,
        history=history,
    )


# Where sources contradict each other the lower number stands: Demo 30 or 100 a minute, Basic 250 or 300. The keyless
# limit is shared per address and unpublished (5 to 15 a minute). "pro" is by contract: the Analyst rate, no month.
PLANS: Mapping[str, Plan] = {
    "public": _plan(pro=False, key=False, minute=10, month=None, history=365 * DAY),
    "demo": _plan(pro=False, key=True, minute=30, month=10_000, history=365 * DAY),
    "basic": _plan(pro=True, key=True, minute=250, month=100_000, history=730 * DAY),
    "analyst": _plan(pro=True, key=True, minute=500, month=500_000, history=None),
    "lite": _plan(pro=True, key=True, minute=500, month=2_000_000, history=None),
    "pro": _plan(pro=True, key=True, minute=500, month=None, history=None),
}

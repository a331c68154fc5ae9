"""Builds providers from Settings: each with its session, limits and threads, its tasks, and the proof that they fit."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from collector.clients import BinanceSdk, CoingeckoSdk
from collector.clock import Clock
from collector.config import CadenceSettings, Settings, SourceSettings, cron_turns, environment_name
from collector.errors import ConfigError
from collector.healing import Healable
from collector.http import Timeouts, Venue
from collector.log import get_logger
from collector.plan import Account, Proof, Shares, Task, Turns, prove
from collector.records import Answer, Dataset
from collector.resilience.breaker import Breaker
from collector.resilience.quota import Quota
from collector.resilience.retry import BUDGET_SHARE
from collector.sources import SOURCES
from collector.sources.base import Collector, Limit, Plan
from collector.worker import Source

SERVICES = {
    "coingecko": "CoingeckoService",
    "binance_futures": "BinanceService",
    "binance_spot": "BinanceSpotService",
    "kraken": "KrakenService",
    "okx": "OkxService",
    "alternative_me": "SentimentService",
    "coincap": "CoincapService",
}
SDKS: Mapping[str, Callable[[Venue], Any]] = {
    "coingecko": CoingeckoSdk,
    "binance_futures": BinanceSdk,
    "binance_spot": BinanceSdk,
}
LISTED = 1000  # instruments that a bulk call names, as the proof sees it; one call whatever their number


def build_source(name: str, settings: Settings, clock: Clock, *, share: float | None = None) -> Source:
    """Return one provider, ready to be called. Raises ConfigError for an unknown name, plan or dataset.

    `share` is what a process beside the collector may use of every limit; None: all but the configured reserve. The
    provider's own count of what was used tells of both, so it is not taken over for a share.
    """
    kind, part = _source_class(name, settings), settings.sources[name]
    plan = _plan(name, kind, part)
    key = part.api_key.get_secret_value() if part.api_key else ""
    service = SERVICES.get(name, f"{name.title().replace('_', '')}Service")
    venue = Venue(
        source=name,
        base_url=part.base_url or plan.base_url,
        check=kind.check,
        used_weight=kind.used_weight if share is None else _not_counted,
        quota=Quota(
            _limits(name, part, plan),
            clock=clock,
            reserve=settings.http.reserve_pct / 100 if share is None else 1 - share,
        ),
        breaker=Breaker(clock=clock),
        clock=clock,
        timeouts=Timeouts(
            connect=settings.http.connect_timeout_s,
            read=settings.http.read_timeout_s,
            total=settings.http.total_timeout_s,
        ),
        max_body=settings.http.max_body_mb * 1024 * 1024,
        headers={plan.key_header: plan.key_prefix + key} if plan.key_header and key else {},
        secrets=(key,) if key else (),
        on_event=get_logger(service).debug,
    )
    transport = SDKS[name](venue) if name in SDKS else venue
    pool = ThreadPoolExecutor(part.parallelism, thread_name_prefix=name)
    return Source(collector=_collector(name, kind, transport, clock, plan), venue=venue, pool=pool, service=service)


def _not_counted(_: Answer) -> dict[str, int]:
    return {}


def _collector(name: str, kind: Any, transport: Any, clock: Clock, plan: Plan) -> Collector:
    collector: Collector = kind(transport, clock, history=plan.history) if name == "coingecko" else kind(transport)
    return collector


def _source_class(name: str, settings: Settings) -> Any:
    if name not in SOURCES:
        raise ConfigError(f"sources.{name}: no such source; known are {', '.join(SOURCES)}")
    if name not in settings.sources:
        raise ConfigError(f"sources.{name}: is not configured; add it under sources in config/config.yaml")
    return SOURCES[name]


def _plan(name: str, kind: Any, part: SourceSettings) -> Plan:
    path = f"sources.{name}.plan"
    if part.plan not in kind.plans:
        raise ConfigError(f"{path}: {part.plan!r} is no plan of this provider; use one of {', '.join(kind.plans)}")
    plan: Plan = kind.plans[part.plan]
    if part.api_key and plan.key_header is None:
        keyed = [other for other, found in kind.plans.items() if found.key_header]
        choice = f"set {path} to one of {', '.join(keyed)}" if keyed else "remove the key"
        raise ConfigError(f"sources.{name}.api_key: the plan {part.plan!r} uses no key; {choice}")
    if plan.key_header and not part.api_key:
        needed = environment_name(f"sources.{name}.api_key")
        raise ConfigError(f"sources.{name}.api_key: the plan {part.plan!r} needs a key; set {needed}")
    secret = part.api_key.get_secret_value() if part.api_key else ""
    if not (secret.isascii() and secret.isprintable()):
        raise ConfigError(f"sources.{name}.api_key: a secret that holds a character no key has; copy the key again")
    return plan


def _limits(name: str, part: SourceSettings, plan: Plan) -> list[Limit]:
    scopes = {limit.scope for limit in plan.limits}
    for scope in part.limits:
        if scope not in scopes:
            known = ", ".join(sorted(scopes))
            raise ConfigError(f"sources.{name}.limits.{scope}: no such metered scope; use one of {known}")
    own = [Limit(scope=scope, capacity=item.capacity, window=item.window) for scope, item in part.limits.items()]
    return [limit for limit in plan.limits if limit.scope not in part.limits] + own


def build_tasks(settings: Settings) -> list[Task]:
    """Return every enabled dataset of every enabled source."""
    return [
        _task(settings, name, dataset)
        for name, part in settings.sources.items()
        if part.enabled
        for dataset, choice in part.datasets.items()
        if choice.enabled
    ]


def _task(settings: Settings, name: str, dataset: Dataset) -> Task:
    shapes = _source_class(name, settings).shapes
    if dataset not in shapes:
        raise ConfigError(
            f"sources.{name}.datasets.{dataset}: this source does not give it; it gives {', '.join(shapes)}"
        )
    choice = settings.sources[name].datasets[dataset]
    _check_intervals(f"sources.{name}.datasets.{dataset}.intervals", name, dataset, settings)
    return Task(
        source=name,
        dataset=dataset,
        shape=shapes[dataset],
        cadence=choice.cadence,
        intervals=choice.intervals,
        history=choice.history,
        levels=choice.levels,
        assets=choice.assets,
        lookback=choice.lookback,
        top=settings.universe.top,
    )


def _check_intervals(path: str, name: str, dataset: Dataset, settings: Settings) -> None:
    given, wanted = _source_class(name, settings).intervals, settings.sources[name].datasets[dataset].intervals
    if dataset is Dataset.CANDLES and not wanted:
        raise ConfigError(f"{path}: is empty; name at least one, as [1m, 1h]")
    if dataset is not Dataset.CANDLES and wanted:
        raise ConfigError(f"{path}: only candles have intervals; remove {', '.join(wanted)}")
    for interval in wanted:
        if interval not in given:
            raise ConfigError(f"{path}: this source has no {interval} candles; it has {', '.join(given)}")


def build_proof(settings: Settings) -> Proof:
    """Hold the configured schedule against the limits of every enabled provider.

    How many instruments a venue will have is not known before it was asked: as many as assets are followed.
    """
    most = settings.universe.top + len(settings.universe.include) + len(settings.universe.include_instruments)
    accounts = []
    for name, part in settings.sources.items():
        if part.enabled:
            kind = _source_class(name, settings)
            plan = _plan(name, kind, part)
            accounts.append(
                Account(
                    source=name,
                    plan=part.plan,
                    limits=_limits(name, part, plan),
                    calls=kind.calls,
                    instruments=most,
                    listed=LISTED,
                )
            )
    shares = Shares(
        reserve=settings.http.reserve_pct / 100, repeats=BUDGET_SHARE, healing=settings.http.healing_pct / 100
    )
    turns = [_turns(name, cadence) for name, cadence in settings.cadences.items()]
    return prove(build_tasks(settings), turns, accounts, assets=most, shares=shares)


def _turns(name: str, cadence: CadenceSettings) -> Turns:
    if cadence.cron is None:
        assert cadence.every is not None  # noqa: S101 - checked when the settings were loaded
        return Turns.on_grid(name, cadence.every, cadence.deadline)
    gap, a_month = cron_turns(cadence.cron)
    return Turns(name=name, every=None, gap=gap, a_month=a_month, deadline=cadence.deadline)


def check_schedule(settings: Settings) -> None:
    """Raise ConfigError, one line, when the schedule cannot fit the limits of a provider."""
    proof = build_proof(settings)
    if not proof.fits:
        first, *others = proof.violations
        more = f" (and {len(others)} more; see all with: python main.py plan)" if others else ""
        everything = f"; for all providers: {proof.nearest} fits" if proof.nearest else ""
        raise ConfigError(f"the schedule does not fit: {first.text}{everything}{more}")


def close_source(source: Source) -> None:
    """End the source's calls and threads."""
    source.venue.close()
    source.pool.shutdown(wait=True, cancel_futures=True)


def healable(name: str, settings: Settings) -> Healable:
    """Return what healing needs to know of a provider."""
    kind, part = _source_class(name, settings), settings.sources[name]
    return Healable(intervals=kind.intervals, calls=kind.calls, limits=_limits(name, part, _plan(name, kind, part)))

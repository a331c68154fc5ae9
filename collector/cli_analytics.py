"""What `trends`, `signals` and `portfolio` do: compute from stored rows as of a moment, print, store on request."""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from collector import status, wiring
from collector.analyst import follow
from collector.clock import SystemClock
from collector.config import Settings
from collector.errors import ConfigError
from collector.exits import NOT_ALL_WELL, OK
from collector.log import set_up_logging
from collector.printing import moment, table
from collector.storage.findings import Findings
from collector.storage.past import Past
from collector.studies.after_cycle import INSTALL
from collector.studies.performance import PerformanceStudy
from collector.studies.rows import Found, rows
from collector.studies.signals import SignalStudy
from collector.studies.trends import TrendStudy
from collector.wiring_studies import build_studies

NEWEST_WITHIN = timedelta(days=2)

Row = Mapping[str, Any]
Column = tuple[str, str, Callable[[Any], str]]  # key, heading, how a value is written


# --------------------------------------------------------------------------- how values are written


def percent(value: float | None) -> str:
    """Return a fraction in percent, `-` for none."""
    return "-" if value is None else f"{100 * value:+.1f} %"


def share(value: float | None) -> str:
    """Return a fraction in percent without a sign, `-` for none."""
    return "-" if value is None else f"{100 * value:.1f} %"


def number(value: float | None) -> str:
    """Return a number with five digits that count, `-` for none."""
    return "-" if value is None else f"{value:,.5g}"


def signed(value: float | None) -> str:
    """Return a number with its sign and two decimals, `-` for none."""
    return "-" if value is None else f"{value:+.2f}"


def word(value: Any) -> str:
    """Return a value as it is, `-` for none."""
    return "-" if value is None else str(value)


def show(found: Sequence[Row], columns: Sequence[Column], arguments: argparse.Namespace, *, nothing: str) -> None:
    """Print the first rows as a table, or all as JSON or CSV; `nothing` says what an empty table means."""
    if arguments.json:
        print(json.dumps([dict(row) for row in found], default=_plain, indent=1))
    elif arguments.csv:
        writer = csv.DictWriter(sys.stdout, list(found[0]) if found else [key for key, _, _ in columns])
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in found)
    elif not found:
        print(nothing)
    else:
        cells = [[write(row.get(key)) for key, _, write in columns] for row in found[: arguments.top]]
        print("\n".join(table([heading for _, heading, _ in columns], cells)))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _cell(value: Any) -> Any:
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=_plain)
    return value.isoformat() if isinstance(value, datetime) else value


# --------------------------------------------------------------------------- what the commands share


@dataclass(frozen=True, slots=True)
class Looking:
    """A database that holds something, and the moment that is looked at."""

    past: Past
    findings: Findings
    as_of: datetime


@contextmanager
def looking(settings: Settings, arguments: argparse.Namespace) -> Any:
    """Lend the stored past; ConfigError when nothing is stored yet."""
    with wiring.open_database(settings) as database:
        database.require_tables()
        yield Looking(Past(database), Findings(database), read_moment(getattr(arguments, "as_of", "")))


def read_moment(text: str, option: str = "--as-of") -> datetime:
    """Return the moment that an option names, in UTC; empty: now. ConfigError for anything else."""
    now = SystemClock().now()
    if not text:
        return now
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option}: {text!r} is no time; write 2026-01-31 or 2026-01-31T12:00") from None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    if found > now:
        raise ConfigError(f"{option}: {text} is in the future")
    return found.astimezone(UTC)


def packages_missing(missing: ImportError) -> NoReturn:
    """Raise what to do about a package of the analytics that is not installed."""
    raise ConfigError(
        f"this needs packages that are not installed ({missing.name or missing}); install them with: {INSTALL}"
    ) from missing


def head(settings: Settings, arguments: argparse.Namespace, text: str) -> None:
    """Print what a table shows, unless a program reads it."""
    if not (arguments.json or arguments.csv):
        print(status.label(settings.simulated) + text)


def _keep(arguments: argparse.Namespace, work: Looking, found: Found) -> None:
    if arguments.store:
        written = work.findings.store(found)
        told = ", ".join(f"{count} {name}" for name, count in written.items() if count)
        print(f"stored: {told or 'nothing new'}", file=sys.stderr)


# --------------------------------------------------------------------------- trends

TRENDS: Sequence[Column] = (
    ("subject", "subject", word),
    ("last_price", "price", number),
    ("change", "change", percent),
    ("volatility", "volatility", share),
    ("drawdown", "drawdown", percent),
    ("max_drawdown", "deepest", percent),
    ("slope", "slope/day", percent),
    ("strength", "R2", signed),
    ("ma_state", "average", lambda value: {1: "above", -1: "below", 0: "equal"}.get(value, "-")),
    ("beta_bitcoin", "beta BTC", signed),
    ("correlation_market", "corr. market", signed),
    ("bars", "bars", word),
)
BREADTH: Sequence[Column] = (
    ("span", "span", word),
    ("assets", "assets", word),
    ("advancing", "rising", word),
    ("declining", "falling", word),
    ("advance_share", "share rising", share),
    ("above_sma", "above average", word),
    ("new_highs", "at high", word),
    ("new_lows", "at low", word),
)
FACTORS: Sequence[Column] = (
    ("day", "day", moment),
    ("factor", "factor", word),
    ("value", "return", percent),
    ("long_assets", "long", word),
    ("short_assets", "short", word),
    ("reason", "why not", word),
)


def trends(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print trend and risk of assets, or of instruments; with --breadth and --factors of the market."""
    with looking(settings, arguments) as work:
        study = TrendStudy(work.past, settings.analytics)
        found = study.trends(work.as_of)
        _keep(arguments, work, found)
        since = read_moment(arguments.since, "--since") if arguments.since else None
        bought = study.returns_since(since, work.as_of) if since else {}
    spans = sorted({row["span"] for row in found["trends"]}, key=lambda span: int(span[:-1]))
    if arguments.span not in spans and found["trends"]:
        raise ConfigError(f"--span: {arguments.span!r} is not computed; use one of {', '.join(spans)}")
    if arguments.breadth:
        head(settings, arguments, f"market breadth as of {moment(work.as_of)} UTC\n")
        show(found["breadth"], BREADTH, arguments, nothing=NO_BARS)
        return OK
    if arguments.factors:
        told = found.get("factor_returns", [])
        last = max((row["day"] for row in told), default=None)
        head(settings, arguments, f"factor returns as of {moment(work.as_of)} UTC\n")
        show(
            told if arguments.csv else [row for row in told if row["day"] == last], FACTORS, arguments, nothing=NO_CAPS
        )
        return OK
    chosen = [
        {**row, "since": bought.get(row["subject"])} if since else row
        for row in found["trends"]
        if row["span"] == arguments.span and _wanted(row["subject"], arguments)
    ]
    chosen.sort(key=lambda row: (row["change"] is None, -(row["change"] or 0), row["subject"]))
    columns = [*TRENDS, ("since", f"since {arguments.since}", percent)] if since else TRENDS
    head(settings, arguments, f"trends over {arguments.span} as of {moment(work.as_of)} UTC, from daily bars\n")
    nothing = f"nothing is known of {', '.join(arguments.subjects)}" if arguments.subjects else NO_BARS
    show(chosen, columns, arguments, nothing=nothing)
    return NOT_ALL_WELL if arguments.subjects and not chosen else OK


NO_BARS = "no daily bars of followed instruments are stored up to then; they come with the first cycles of `run`"
NO_CAPS = "no market caps of ended days are stored yet: factors begin with the second day of collecting"


def _wanted(subject: str, arguments: argparse.Namespace) -> bool:
    if arguments.subjects:
        return any(subject == name or subject.startswith(f"{name}:") for name in arguments.subjects)
    return bool((":" in subject) == arguments.instruments)


# --------------------------------------------------------------------------- signals

VIEWS: Sequence[Column] = (
    ("rank", "rank", word),
    ("asset_id", "asset", word),
    ("score", "score", signed),
    ("zscore", "z", signed),
    ("confidence", "confidence", share),
    ("agreement", "agreement", share),
    ("coverage", "coverage", share),
    ("signals", "signals", word),
)
STATES: Sequence[Column] = (
    ("subject", "instrument", word),
    ("interval", "bars", word),
    ("name", "signal", word),
    ("state", "state", word),
    ("strength", "strength", signed),
    ("since", "since (UTC)", moment),
    ("price", "price", number),
)
RECENT: Sequence[Column] = (
    ("bar_end", "bar end (UTC)", moment),
    ("subject", "instrument", word),
    ("interval", "bars", word),
    ("name", "signal", word),
    ("state", "state", word),
    ("strength", "strength", signed),
    ("price", "price", number),
)
HIT_RATES: Sequence[Column] = (
    ("interval", "bars", word),
    ("name", "signal", word),
    ("horizon", "after bars", word),
    ("outcomes", "outcomes", word),
    ("hit_rate", "right", share),
    ("low", "from", share),
    ("high", "to (95 %)", share),
    ("mean_return", "mean return", percent),
)


def signals(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print what the closed bars say: a view per asset, the states of one, the newest signals, or how they did."""
    with looking(settings, arguments) as work:
        if arguments.store:
            _keep(arguments, work, SignalStudy(work.past, settings.analytics).make(work.as_of))
            _keep(arguments, work, PerformanceStudy(work.past, settings.analytics).make(work.as_of))
        if arguments.performance:
            told = PerformanceStudy(work.past, settings.analytics).hit_rates(work.as_of)
            head(settings, arguments, f"outcomes of signals given up to {moment(work.as_of)} UTC\n")
            show(rows(told), HIT_RATES, arguments, nothing="no signal has an outcome yet")
            return OK
        now = SignalStudy(work.past, settings.analytics).now(work.as_of)
    nothing = "the stored bars are too few for any signal; they grow with every cycle"
    if arguments.recent:
        newest = sorted(rows(now.signals), key=lambda row: (row["bar_end"], row["subject"], row["name"]), reverse=True)
        chosen = [row for row in newest if _about(row["subject"], now.assets, arguments.subjects)]
        head(settings, arguments, f"newest signals up to {moment(work.as_of)} UTC\n")
        show(chosen[: arguments.recent], RECENT, arguments, nothing=nothing)
    elif arguments.subjects:
        states = [row for row in rows(now.states) if _about(row["subject"], now.assets, arguments.subjects)]
        states.sort(key=lambda row: (row["subject"], row["interval"], row["name"]))
        head(settings, arguments, f"states of signals as of {moment(work.as_of)} UTC\n")
        show(states, STATES, arguments, nothing=f"nothing is known of {', '.join(arguments.subjects)}")
        return OK if states else NOT_ALL_WELL
    else:
        head(settings, arguments, f"views as of {moment(work.as_of)} UTC, the most bullish first\n")
        show(rows(now.views), VIEWS, arguments, nothing=nothing)
    return OK


def _about(instrument: str, assets: Mapping[str, str], subjects: Sequence[str]) -> bool:
    return not subjects or assets.get(instrument) in subjects or any(instrument.startswith(name) for name in subjects)


# --------------------------------------------------------------------------- portfolio

WEIGHTS: Sequence[Column] = (
    ("asset_id", "asset", word),
    ("weight", "weight", share),
    ("previous_weight", "before", share),
    ("market_weight", "market", share),
    ("prior_return", "prior", percent),
    ("view_return", "view", percent),
    ("confidence", "confidence", share),
    ("posterior_return", "posterior", percent),
)
RUNS: Sequence[Column] = (
    ("as_of", "as of (UTC)", moment),
    ("state", "state", word),
    ("assets", "assets", word),
    ("expected_return", "return", percent),
    ("expected_volatility", "volatility", share),
    ("turnover", "turnover", share),
    ("reason", "reason", word),
)
EQUITY: Sequence[Column] = (
    ("day", "day (UTC)", moment),
    ("equity", "portfolio", number),
    ("bitcoin", "bitcoin", number),
    ("market", "market", number),
    ("turnover", "turnover", share),
)


def portfolio(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the Black-Litterman portfolio of a moment, the stored ones, or what they would have earned."""
    name = settings.analytics.portfolio.name
    with looking(settings, arguments) as work:
        if arguments.history or arguments.equity:
            load, columns, what = (
                (work.past.portfolio_runs, RUNS, "runs")
                if arguments.history
                else (work.past.paper_equity, EQUITY, "days")
            )
            found = load(name, as_of=work.as_of)
            head(settings, arguments, f"portfolio {name}\n")
            show(found[::-1], columns, arguments, nothing=f"no {what} of {name} are stored up to then")
            return OK
        try:
            from collector.studies.portfolio import PortfolioStudy  # noqa: PLC0415 - heavy packages
        except ImportError as missing:
            packages_missing(missing)
        study = PortfolioStudy(work.past, settings.analytics)
        made = study.rows_of(study.portfolio(work.as_of))
        _keep(arguments, work, made)
    run = made["portfolio_runs"][0]
    weights = sorted(made.get("portfolio_weights", []), key=lambda row: -row["weight"])
    if run["state"] != "ok":
        if arguments.json:
            print(json.dumps({**run, "inputs": None, "weights": []}, default=_plain, indent=1))
        raise ConfigError(f"no portfolio as of {moment(work.as_of)}: {run['reason']}")
    if arguments.json:
        print(json.dumps({**run, "weights": weights}, default=_plain, indent=1))
        return OK
    head(settings, arguments, f"portfolio {name} as of {moment(work.as_of)} UTC; returns are of a year\n")
    show(weights, WEIGHTS, arguments, nothing="")
    if not arguments.csv:
        print(f"\n  return {percent(run['expected_return'])}, volatility {share(run['expected_volatility'])}, ", end="")
        print(f"turnover {share(run['turnover'])}; left out: {len(run['left_out'])} (see --json)")
    return OK


def analyse(settings: Settings, arguments: argparse.Namespace) -> int:
    """Make every study once; when attached, those of each cycle that standard input tells of, until it closes."""
    set_up_logging(settings.logs, console=sys.stderr, file="analytics.log")
    with wiring.open_database(settings, name="analyst") as database:
        database.require_tables()
        studies = build_studies(settings, database, SystemClock())
        if arguments.attached:
            follow(studies, sys.stdin)
            return OK
        written = studies.now()
    told = ", ".join(f"{count:,} {name}" for name, count in written.items() if count)
    print(status.label(settings.simulated) + f"stored: {told or 'nothing new'}")
    return OK


def found_so_far(settings: Settings, *, most: int = 5) -> str:
    """Return what the stored analytics say, in a few lines: the most bullish assets and the newest portfolio."""
    with wiring.open_database(settings) as database:
        past, now = Past(database), SystemClock().now()
        views = past.views(since=now - NEWEST_WITHIN, as_of=now)
        weights = past.weights(settings.analytics.portfolio.name, since=now - NEWEST_WITHIN, as_of=now)
    bullish = sorted((row for row in views if row["as_of"] == views[-1]["as_of"]), key=lambda row: row["rank"])[:most]
    held = sorted(
        (row for row in weights if row["as_of"] == weights[-1]["as_of"]),
        key=lambda row: (-row["weight"], row["asset_id"]),
    )[:most]
    told = [
        ("most bullish by their signals", [f"{row['asset_id']} {signed(row['score'])}" for row in bullish], "signals"),
        ("largest in the portfolio", [f"{row['asset_id']} {share(row['weight'])}" for row in held], "portfolio"),
    ]
    return "\n".join(
        f"{what}: {', '.join(items)} (python main.py --demo {command})" for what, items, command in told if items
    )

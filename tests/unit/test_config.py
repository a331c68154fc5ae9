"""Settings: layers, and one line with key, value and remedy for each mistake."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from collector.config import ROOT, Layer, explain, format_duration, load_settings, parse_duration
from collector.errors import ConfigError
from collector.records import Dataset, Interval

SHIPPED = ROOT / "config" / "config.yaml"


def load(environment=None, **more):
    return load_settings(environment=environment or {}, **more)[0]


def test_the_shipped_settings_are_valid():
    settings = load()
    assert settings.universe.top == 250
    assert settings.cadences["market"].every == timedelta(minutes=5)
    assert settings.sources["okx"].datasets[Dataset.CANDLES].intervals == (Interval.M1, Interval.H1, Interval.D1)
    assert settings.database.url.get_secret_value() == ""


def test_the_environment_overrides_the_file_at_any_depth():
    settings = load(
        {
            "COLLECTOR_SOURCES__BINANCE_FUTURES__BASE_URL": "http://127.0.0.1:9/x/",
            "COLLECTOR_SOURCES__OKX__DATASETS__CANDLES__INTERVALS": "5m, 4h",
            "COLLECTOR_UNIVERSE__INCLUDE": "[monero, dash]",
            "collector_http__reserve_pct": "20",
            "OTHER_PROGRAM": "x",
        }
    )
    assert settings.sources["binance_futures"].base_url == "http://127.0.0.1:9/x"
    assert settings.sources["binance_futures"].parallelism == 16
    assert settings.sources["okx"].datasets[Dataset.CANDLES].intervals == (Interval.M5, Interval.H4)
    assert settings.universe.include == ("monero", "dash")
    assert settings.http.reserve_pct == 20


def test_an_override_wins_over_the_environment():
    layer = Layer("demo", {"universe": {"top": 7}})
    assert load({"COLLECTOR_UNIVERSE__TOP": "9"}, overrides=(layer,)).universe.top == 7


def test_explain_names_value_origin_and_meaning_of_every_setting_and_hides_secrets():
    settings, layers = load_settings(environment={"COLLECTOR_SOURCES__COINGECKO__API_KEY": "CG-canary"})
    lines = {line.name: line for line in explain(settings, layers)}
    assert lines["universe.top"].origin == "config/config.yaml"
    assert lines["http.read_timeout_s"].origin == "default"
    assert lines["sources.coingecko.api_key"].origin == "environment"
    assert lines["sources.coingecko.api_key"].value == "(set)"
    assert lines["cadences.market.every"].value == "5m"
    assert all(line.description for line in lines.values())
    assert "CG-canary" not in repr(lines) + repr(settings)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("2d", 172800), ("1w", 604800)]
)
def test_durations_are_read_and_written_alike(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


BROKEN_ENVIRONMENT = [
    ({"COLLECTOR_NOPE": "1"}, "COLLECTOR_NOPE", "use one of"),
    ({"COLLECTOR_DATABSE__URL": "x"}, "COLLECTOR_DATABSE__URL", "did you mean database"),
    ({"COLLECTOR_DATABASE__URL": "mysql://u:canary@h/x"}, "database.url", "postgresql://"),
    ({"COLLECTOR_DATABASE__URL": "canary"}, "database.url", "postgresql://"),
    ({"COLLECTOR_DATABASE__KEEP_PAYLOADS": "0"}, "database.keep_payloads", "longer than zero"),
    ({"COLLECTOR_DATABASE__KEEP_PAYLOADS": "soon"}, "database.keep_payloads", "as 30s, 5m"),
    ({"COLLECTOR_LOGS__LEVEL": "LOUD"}, "logs.level", "'DEBUG'"),
    ({"COLLECTOR_LOGS__FORMAT": "xml"}, "logs.format", "'json'"),
    ({"COLLECTOR_LOGS__KEEP_MB": "0"}, "logs.keep_mb", "greater than or equal to 1"),
    ({"COLLECTOR_LOGS": "here"}, "logs", "one by one"),
    ({"COLLECTOR_UNIVERSE__TOP": "many"}, "universe.top", "whole number"),
    ({"COLLECTOR_UNIVERSE__TOP": "0"}, "universe.top", "greater than or equal to 1"),
    ({"COLLECTOR_UNIVERSE__TOP": "1.5"}, "universe.top", "whole number"),
    ({"COLLECTOR_UNIVERSE__QUOTES": ""}, "universe.quotes", "at least 1"),
    ({"COLLECTOR_UNIVERSE__PRICE_TOLERANCE_PCT": "-1"}, "universe.price_tolerance_pct", "greater than 0"),
    ({"COLLECTOR_UNIVERSE__PRICE_TOLERANCE_PCT": "x"}, "universe.price_tolerance_pct", "not a number"),
    ({"COLLECTOR_UNIVERSE__TOPP": "5"}, "universe.topp", "did you mean top"),
    ({"COLLECTOR_CADENCES__MARKET__EVERY": "-5m"}, "cadences.market.every", "as 30s, 5m"),
    ({"COLLECTOR_CADENCES__MARKET__EVERY": "0"}, "cadences.market.every", "longer than zero"),
    ({"COLLECTOR_CADENCES__MARKET__OFFSET": "5m"}, "cadences.market", "not shorter than every"),
    ({"COLLECTOR_CADENCES__MARKET__DEADLINE": "never"}, "cadences.market.deadline", "as 30s, 5m"),
    ({"COLLECTOR_CADENCES__DAILY__EVERY": "1d"}, "cadences.daily", "exactly one of every and cron"),
    ({"COLLECTOR_CADENCES__DAILY__CRON": "at noon"}, "cadences.daily.cron", "five fields"),
    ({"COLLECTOR_CADENCES__DAILY__CRON": "61 0 * * *"}, "cadences.daily.cron", "five fields"),
    ({"COLLECTOR_CADENCES__NEW__DEADLINE": "5m"}, "cadences.new", "exactly one of every and cron"),
    ({"COLLECTOR_CADENCES__MARKET__EVRY": "5m"}, "cadences.market.evry", "did you mean every"),
    ({"COLLECTOR_SOURCES__OKX__BASE_URL": "ftp://x"}, "sources.okx.base_url", "https://host"),
    ({"COLLECTOR_SOURCES__OKX__BASE_URL": "https://x/y?z=1"}, "sources.okx.base_url", "https://host"),
    ({"COLLECTOR_SOURCES__OKX__ENABLED": "perhaps"}, "sources.okx.enabled", "true nor false"),
    ({"COLLECTOR_SOURCES__OKX__PARALLELISM": "many"}, "sources.okx.parallelism", "whole number"),
    ({"COLLECTOR_SOURCES__OKX__PARALLELISM": "65"}, "sources.okx.parallelism", "less than or equal to 64"),
    ({"COLLECTOR_SOURCES__OKX__PARALELISM": "2"}, "sources.okx.paralelism", "did you mean parallelism"),
    ({"COLLECTOR_SOURCES__OKX__DATASETS__FOO__CADENCE": "market"}, "sources.okx.datasets.foo", "'tickers'"),
    (
        {"COLLECTOR_SOURCES__OKX__DATASETS__CANDLES__CADENCE": "x"},
        "sources.okx.datasets.candles.cadence",
        "market, hourly, daily",
    ),
    (
        {"COLLECTOR_SOURCES__OKX__DATASETS__CANDLES__INTERVALS": "1m,2h"},
        "sources.okx.datasets.candles.intervals",
        "'1h'",
    ),
    (
        {"COLLECTOR_SOURCES__OKX__DATASETS__CANDLES__HISTORY": "0"},
        "sources.okx.datasets.candles.history",
        "greater than or equal to 1",
    ),
    ({"COLLECTOR_SOURCES__OKX__LIMITS__BOOKS__CAPACITY": "40"}, "sources.okx.limits.books.window", "is missing"),
    (
        {"COLLECTOR_SOURCES__OKX__LIMITS__BOOKS__CAPACITY": "0", "COLLECTOR_SOURCES__OKX__LIMITS__BOOKS__WINDOW": "2s"},
        "sources.okx.limits.books.capacity",
        "greater than or equal to 1",
    ),
    ({"COLLECTOR_INDICATORS__SWING_LOOKBACK": "4"}, "indicators.swing_lookback", "greater than or equal to 5"),
    ({"COLLECTOR_INDICATORS__INTERVALS": "1h,1y"}, "indicators.intervals", "'1w'"),
    ({"COLLECTOR_HTTP__RESERVE_PCT": "95"}, "http.reserve_pct", "less than or equal to 90"),
    ({"COLLECTOR_HTTP__TOTAL_TIMEOUT_S": "0"}, "http.total_timeout_s", "greater than 0"),
    ({"COLLECTOR_SIMULATED": "maybe"}, "simulated", "true nor false"),
    ({"COLLECTOR_UNIVERSE": "x", "COLLECTOR_UNIVERSE__TOP": "5"}, "COLLECTOR_UNIVERSE__TOP", "remove one of the two"),
]


@pytest.mark.parametrize(("environment", "key", "remedy"), BROKEN_ENVIRONMENT)
def test_a_broken_value_is_one_line_with_key_and_remedy(environment, key, remedy):
    with pytest.raises(ConfigError) as caught:
        load(environment)
    line = str(caught.value)
    assert "\n" not in line
    assert key in line
    assert remedy in line
    assert "canary" not in line
    value = next(iter(environment.values()))
    if "url" not in key and "is missing" not in line and "no such" not in remedy and value and "did you" not in remedy:
        assert value.split(",")[-1] in line or "remove one" in line or "exactly one" in line or "use one of" in line


BROKEN_FILES = [
    ("universe: [1", "line", "not valid YAML"),
    ("just a sentence", "", "holds no settings"),
    ("", "", "holds no settings"),
    ("sources: {okx: {}}", "cadences", "is missing"),
    ("cadences: {market: {every: 5m}}", "sources", "is missing"),
    ("cadences: {}\nsources: {okx: {}}", "cadences", "at least 1"),
    ("cadences: {'Market 1': {every: 5m}}\nsources: {okx: {}}", "cadences.Market 1", "lower-case"),
    ("cadences: {market: {every: 5m}}\nsources: {okx: {}}\nextra: 1", "extra", "use one of"),
]


@pytest.mark.parametrize(("text", "key", "remedy"), BROKEN_FILES)
def test_a_broken_file_is_one_line(tmp_path, text, key, remedy):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file=file)
    line = str(caught.value)
    assert "\n" not in line
    assert key in line
    assert remedy in line


def test_a_missing_file_is_one_line_that_names_the_option():
    with pytest.raises(ConfigError, match="--config"):
        load(file=Path("nowhere.yaml"))


def test_every_setting_of_the_shipped_file_can_be_removed_one_by_one(tmp_path):
    tree = yaml.safe_load(SHIPPED.read_text())
    for part in ("universe", "indicators"):
        smaller = {key: value for key, value in tree.items() if key != part}
        file = tmp_path / f"{part}.yaml"
        file.write_text(yaml.safe_dump(smaller))
        assert load(file=file).universe.top == 250

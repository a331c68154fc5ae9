"""Settings: layers, and one line with key, value and remedy for each mistake."""

import re
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
    assert lines["sources.coingecko.api_key"].origin == "COLLECTOR_SOURCES__COINGECKO__API_KEY in the environment"
    assert lines["sources.coingecko.api_key"].value == "(set)"
    assert lines["cadences.market.every"].value == "5m"
    assert all(line.description for line in lines.values())
    assert "CG-canary" not in repr(lines) + repr(settings)


@pytest.mark.parametrize(
    ("name", "text", "setting"),
    [
        ("COLLECTOR_ALERTS__TARGETS__X__URL", "json://h/x", "alerts.targets.x.url"),
        ("COLLECTOR_ALERTS__TARGETS__X", "json://h/x", "alerts.targets.x.url"),
        ("COLLECTOR_ALERTS__TARGETS", "json://h/x", "alerts.targets.default.url"),
        ("COLLECTOR_ALERTS", "{targets: {x: {url: 'json://h/x'}}}", "alerts.targets.x.url"),
        ("COLLECTOR_RETENTION__DATASETS", "{candles: {age: 60d, then: seal}}", "retention.datasets.candles.age"),
        ("collector_http__reserve_pct", "20", "http.reserve_pct"),
    ],
)
def test_explain_names_the_variable_that_set_a_value_at_any_depth(name, text, setting):
    settings, layers = load_settings(environment={name: text})
    (origin,) = [line.origin for line in explain(settings, layers) if line.name == setting]
    assert origin == f"{name} in the environment"


def test_explain_names_the_variable_of_an_env_file(tmp_path):
    (tmp_path / "own.env").write_text("COLLECTOR_ALERTS__TARGETS__X=json://h/x\n")
    settings, layers = load_settings(environment={}, env_file=tmp_path / "own.env")
    (origin,) = [line.origin for line in explain(settings, layers) if line.name == "alerts.targets.x.url"]
    assert origin == f"COLLECTOR_ALERTS__TARGETS__X in {tmp_path / 'own.env'}"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"COLLECTOR_BIGQUERY__ENABLED": "true"}, "COLLECTOR_BIGQUERY__ENABLED"),
        ({"COLLECTOR_CADENCES__MARKET__OFFSET": "5m"}, "COLLECTOR_CADENCES__MARKET__OFFSET"),
        ({"collector_universe__top": "x"}, "collector_universe__top"),
        ({"COLLECTOR_ALERTS__TARGETS__X": "ftp"}, "COLLECTOR_ALERTS__TARGETS__X"),
        ({"COLLECTOR_ALERTS__QUIET__SINCE": "22:30"}, "COLLECTOR_ALERTS__QUIET__SINCE"),
    ],
)
def test_a_mistake_names_only_variables_that_somebody_set(environment, named):
    with pytest.raises(ConfigError) as caught:
        load(environment)
    assert str(caught.value).endswith(f"(set in {named} in the environment)")


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
    ({"COLLECTOR_DATABASE__URL": "postgresql://u:canary@h:abc/db"}, "database.url", "host:5432"),
    ({"COLLECTOR_DATABASE__URL": "postgresql://u:canary@h:/db"}, "database.url", "host:5432"),
    ({"COLLECTOR_DATABASE__URL": "postgresql://u:canary@h:65536/db"}, "database.url", "host:5432"),
    ({"COLLECTOR_DATABASE__URL": "postgresql://u:canary@h:0/db"}, "database.url", "the value (hidden)"),
    ({"COLLECTOR_DATABASE__URL": "[canary"}, "database.url", "the value (hidden) is not a PostgreSQL address"),
    ({"COLLECTOR_DATABASE": "postgresql://u:canary@h/db"}, "database: the value (hidden)", "one by one"),
    ({"COLLECTOR_DATABASE": "{url: canary"}, "COLLECTOR_DATABASE", "the value (hidden) is no list or group"),
    ({"COLLECTOR_DATABASE__KEEP_PAYLOADS": "3661d"}, "database.keep_payloads", "the most is 3660d"),
    ({"COLLECTOR_LOGS__KEEP": "999999999w"}, "logs.keep", "the most is 3660d"),
    ({"COLLECTOR_LOGS__DIRECTORY": ""}, "logs.directory", "name one"),
    ({"COLLECTOR_DATA_DIR": ""}, "data_dir", "name one"),
    ({"COLLECTOR_DATA_DIR": " "}, "data_dir", "COLLECTOR_DATA_DIR in the environment"),
    ({"COLLECTOR_UNIVERSE__INCLUDE": "[monero, dash"}, "COLLECTOR_UNIVERSE__INCLUDE", "write [a, b]"),
    ({"COLLECTOR_UNIVERSE": "{top: 5"}, "COLLECTOR_UNIVERSE (environment)", "{a: b}"),
    ({"COLLECTOR_UNIVERSE": " {top: 5"}, "COLLECTOR_UNIVERSE (environment)", "{a: b}"),
    ({"COLLECTOR_UNIVERSE": '{"top": 5]'}, "COLLECTOR_UNIVERSE (environment)", "{a: b}"),
    ({"COLLECTOR_UNIVERSE": "{top: 2026-13-45}"}, "COLLECTOR_UNIVERSE (environment)", "{a: b}"),
    (
        {"COLLECTOR_UNIVERSE": "{top: 5, top: 6}"},
        "COLLECTOR_UNIVERSE (environment)",
        "'top' twice; remove one of the two",
    ),
    ({"COLLECTOR_CADENCES__MARKET__EVERY": "32d"}, "cadences.market.every", "at least every 31d"),
    ({"COLLECTOR_CADENCES__DAILY__CRON": "0 0 31 2 *"}, "cadences.daily.cron", "never comes"),
    ({"COLLECTOR_SOURCES__OKX__BASE_URL": "http://h:99999/x"}, "sources.okx.base_url", "https://host"),
    ({"COLLECTOR_SOURCES__OKX__BASE_URL": "http://u:canary@h"}, "sources.okx.base_url", "the value (hidden)"),
    ({"COLLECTOR_DATABASE__KEEP_PAYLOADS": "0"}, "database.keep_payloads", "longer than zero"),
    ({"COLLECTOR_DATABASE__KEEP_PAYLOADS": "soon"}, "database.keep_payloads", "as 30s, 5m"),
    ({"COLLECTOR_LOGS__LEVEL": "LOUD"}, "logs.level", "'DEBUG'"),
    ({"COLLECTOR_LOGS__FORMAT": "xml"}, "logs.format", "'json'"),
    ({"COLLECTOR_LOGS__KEEP_MB": "0"}, "logs.keep_mb", "must be 1 or more"),
    ({"COLLECTOR_LOGS": "here"}, "logs", "one by one"),
    ({"COLLECTOR_UNIVERSE__TOP": "many"}, "universe.top", "whole number"),
    ({"COLLECTOR_UNIVERSE__TOP": "0"}, "universe.top", "must be 1 or more"),
    ({"COLLECTOR_UNIVERSE__TOP": "1.5"}, "universe.top", "whole number"),
    ({"COLLECTOR_UNIVERSE__QUOTES": ""}, "universe.quotes", "at least one entry"),
    ({"COLLECTOR_UNIVERSE__PRICE_TOLERANCE_PCT": "-1"}, "universe.price_tolerance_pct", "must be more than 0"),
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
    ({"COLLECTOR_SOURCES__OKX__PARALLELISM": "65"}, "sources.okx.parallelism", "must be 64 or less"),
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
        "must be 1 or more",
    ),
    ({"COLLECTOR_SOURCES__OKX__LIMITS__BOOKS__CAPACITY": "40"}, "sources.okx.limits.books.window", "is missing"),
    (
        {"COLLECTOR_SOURCES__OKX__LIMITS__BOOKS__CAPACITY": "0", "COLLECTOR_SOURCES__OKX__LIMITS__BOOKS__WINDOW": "2s"},
        "sources.okx.limits.books.capacity",
        "must be 1 or more",
    ),
    ({"COLLECTOR_INDICATORS__SWING_LOOKBACK": "4"}, "indicators.swing_lookback", "must be 5 or more"),
    ({"COLLECTOR_INDICATORS__INTERVALS": "1h,1y"}, "indicators.intervals", "'1w'"),
    ({"COLLECTOR_HTTP__RESERVE_PCT": "95"}, "http.reserve_pct", "must be 90 or less"),
    ({"COLLECTOR_HTTP__TOTAL_TIMEOUT_S": "0"}, "http.total_timeout_s", "must be more than 0"),
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
    if (
        "hidden" not in line
        and "url" not in key
        and "is missing" not in line
        and "no such" not in remedy
        and value
        and "did you" not in remedy
    ):
        assert value.split(",")[-1] in line or "remove one" in line or "exactly one" in line or "use one of" in line


BROKEN_FILES = [
    ("universe: [1", "line", "not valid YAML"),
    ("just a sentence", "", "holds no settings"),
    ("", "", "holds no settings"),
    ("sources: {okx: {}}", "cadences", "is missing"),
    ("cadences: {market: {every: 5m}}", "sources", "is missing"),
    ("cadences: {}\nsources: {okx: {}}", "cadences", "at least one entry"),
    (
        "universe: {top: 5}\nhttp: {}\nuniverse: {top: 6}",
        "config.yaml line 3",
        "'universe' twice; remove one of the two",
    ),
    ("universe:\n  top: 5\n  quotes: [USD]\n  top: 6", "config.yaml line 4", "'top' twice; remove one of the two"),
    ("universe: {top: 5, top: 6}", "config.yaml line 1", "'top' twice; remove one of the two"),
    ("universe: {top: 2026-13-45}", "config.yaml", "not valid YAML"),
    ("cadences: {'a\\nb': {every: 5m}}\nsources: {okx: {}}", "cadences.a", "lower-case"),
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


SWITCHES = [
    ("universe", "top", "true"),
    ("universe", "quotes", "yes"),
    ("universe", "price_tolerance_pct", "on"),
    ("http", "read_timeout_s", "yes"),
    ("http", "reserve_pct", "off"),
    ("logs", "keep", "no"),
    ("logs", "directory", "on"),
    ("cadences", "market", "{every: yes}"),
    ("cadences", "market", "true"),
    ("sources", "okx", "{plan: yes}"),
    ("sources", "okx", "{parallelism: true}"),
    ("indicators", "extra", "[{function: CCI, parameters: {timeperiod: true}}]"),
]


@pytest.mark.parametrize(("part", "name", "text"), SWITCHES)
def test_a_switch_is_no_number_text_or_duration(part, name, text):
    layer = Layer("test", {part: {name: yaml.safe_load(text)}})
    with pytest.raises(ConfigError) as caught:
        load(overrides=(layer,))
    assert str(caught.value).startswith(f"{part}.{name}")
    assert re.search(": (true|false) is ", str(caught.value))


def test_a_switch_in_a_group_of_the_environment_is_no_number_either():
    with pytest.raises(ConfigError, match=r"universe\.top: true is a switch, but another kind of value is wanted"):
        load({"COLLECTOR_UNIVERSE": "{top: true}"})


def test_a_switch_is_read_where_one_is_wanted():
    layer = Layer("test", yaml.safe_load("{simulated: yes, sources: {okx: {enabled: no}}}"))
    settings = load(overrides=(layer,))
    assert settings.simulated is True
    assert settings.sources["okx"].enabled is False


def test_the_longest_durations_and_a_rare_cron_line_are_taken():
    settings = load(
        {
            "COLLECTOR_DATABASE__KEEP_PAYLOADS": "3660d",
            "COLLECTOR_CADENCES__MARKET__EVERY": "31d",
            "COLLECTOR_CADENCES__DAILY__CRON": "0 0 29 2 *",
        }
    )
    assert settings.database.keep_payloads == timedelta(days=3660)
    assert settings.cadences["market"].every == timedelta(days=31)
    assert settings.cadences["daily"].cron == "0 0 29 2 *"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "postgresql://u:p@h:5432/db",
        "postgresql+psycopg2://u@h/db",
        "postgres://h",
        "postgresql:///db?host=/run/postgresql",
        "postgresql://u:p#a/s:s@h:5432/db?sslmode=require",
        "postgresql://u@[::1]:5432/db",
    ],
)
def test_addresses_that_postgresql_takes_are_taken(url):
    assert load({"COLLECTOR_DATABASE__URL": url}).database.url.get_secret_value() == url


def test_one_anchored_group_may_stand_in_several_places(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        "cadences: {a: &a {every: 5m, deadline: 1m}, b: {<<: *a, every: 1h}}\nsources: {okx: {}}", encoding="utf-8"
    )
    settings = load(file=file)
    assert settings.cadences["b"].every == timedelta(hours=1)
    assert settings.cadences["b"].deadline == timedelta(minutes=1)


def test_env_file_stands_between_the_file_and_the_environment(tmp_path):
    env_file = tmp_path / ".env"
    env_file.write_text(
        "\ufeffCOLLECTOR_UNIVERSE__TOP=5\n\n# a comment\nexport COLLECTOR_HTTP__RESERVE_PCT='20' # why\n"
        "COLLECTOR_DATABASE__URL=\nCOLLECTOR_UNIVERSE__INCLUDE=[monero, dash]\nPOSTGRES_PASSWORD\n",
        encoding="utf-8",
    )
    settings = load({"COLLECTOR_HTTP__RESERVE_PCT": "30"}, env_file=env_file)
    assert settings.universe.top == 5
    assert settings.universe.include == ("monero", "dash")
    assert settings.http.reserve_pct == 30
    assert load(env_file=env_file).http.reserve_pct == 20


def test_an_absent_env_file_sets_nothing(tmp_path):
    assert load(env_file=tmp_path / ".env") == load()


BROKEN_ENV_FILES = [
    (b"COLLECTOR_UNIVERSE__TOP 5\n", "line 1: COLLECTOR_UNIVERSE__TOP", "NAME=value"),
    (b"A=1\n\n\nCOLLECTOR_UNIVERSE__TOP 5\n", "line 4: COLLECTOR_UNIVERSE__TOP", "NAME=value"),
    (b"A=1\nCOLLECTOR_UNIVERSE__TOP\n", "line 2: COLLECTOR_UNIVERSE__TOP", "NAME=value"),
    (b'A=1\nCOLLECTOR_DATABASE__URL="canary\nB=2\n', "line 2: COLLECTOR_DATABASE__URL", "close every quote"),
    (b"# c\nthe canary is here\n", "line 2: the line", "NAME=value"),
    (b"A=1\nCOLLECTOR_UNIVERSE__INCLUDE=\xff\xfe\n", "line 2", "UTF-8"),
    (b"COLLECTOR_UNIVERSE__INCLUDE=[monero\n", "COLLECTOR_UNIVERSE__INCLUDE", "'[monero' is no list or group"),
    (b"COLLECTOR_UNIVERSE={top: 5\n", "COLLECTOR_UNIVERSE", "'{top: 5' is no list or group"),
    (b"COLLECTOR_UNIVERSE__TOPP=5\n", "universe.topp", "did you mean top"),
    (b"COLLECTOR_NOPE=5\n", "COLLECTOR_NOPE", "use one of"),
]


@pytest.mark.parametrize(("content", "key", "remedy"), BROKEN_ENV_FILES)
def test_a_broken_env_file_is_one_line(tmp_path, content, key, remedy):
    env_file = tmp_path / ".env"
    env_file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(env_file=env_file)
    line = str(caught.value)
    assert "\n" not in line
    assert str(env_file) in line
    assert key in line
    assert remedy in line
    assert "canary" not in line


def test_a_folder_in_place_of_the_env_file_is_refused(tmp_path):
    (tmp_path / ".env").mkdir()
    with pytest.raises(ConfigError, match=r"\.env: cannot be read \(Is a directory\); make it"):
        load(env_file=tmp_path / ".env")


def test_a_link_to_nowhere_in_place_of_the_env_file_is_refused(tmp_path):
    (tmp_path / ".env").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"\.env: cannot be read"):
        load(env_file=tmp_path / ".env")


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


# --------------------------------------------------------------------------- plain names


PLAIN = {
    "PORT": "9001",
    "HOST": "0.0.0.0",
    "CACHE_TTL_PRICES": "15",
    "CACHE_TTL_OHLCV": "120",
    "CACHE_TTL_SENTIMENT": "900",
    "RATE_LIMIT_PRICES": "7",
    "RATE_LIMIT_OHLCV": "8",
    "RATE_LIMIT_SENTIMENT": "9",
    "COINGECKO_API_KEY": "CG-canary",
    "SUPPORTED_SYMBOLS": "BTC, ETH",
}


def test_plain_names_set_the_settings_of_the_api():
    settings = load(PLAIN)
    api = settings.api
    assert (api.port, api.host, api.symbols) == (9001, "0.0.0.0", ("BTC", "ETH"))
    assert [part.total_seconds() for part in (api.ttl_prices, api.ttl_ohlcv, api.ttl_sentiment)] == [15, 120, 900]
    assert (api.rate_prices, api.rate_ohlcv, api.rate_sentiment) == (7, 8, 9)
    assert settings.sources["coingecko"].api_key.get_secret_value() == "CG-canary"
    assert settings.sources["coingecko"].plan == "demo"


def test_our_own_names_win_over_plain_ones_wherever_they_stand(tmp_path):
    env_file = tmp_path / ".env"
    env_file.write_text("COLLECTOR_API__PORT=9002\nHOST=10.0.0.1\nRATE_LIMIT_PRICES=3\n", encoding="utf-8")
    more = {"COLLECTOR_SOURCES__COINGECKO__PLAN": "pro"}
    settings = load({**PLAIN, **more, "RATE_LIMIT_PRICES": "7"}, env_file=env_file)
    assert (settings.api.port, settings.api.host, settings.api.rate_prices) == (9002, "0.0.0.0", 7)
    assert settings.sources["coingecko"].plan == "pro"


def test_an_empty_plain_name_says_nothing():
    assert load({"PORT": "", "COINGECKO_API_KEY": " ", "SUPPORTED_SYMBOLS": ""}) == load()


def test_a_setting_from_a_plain_name_tells_its_origin():
    settings, layers = load_settings(environment=PLAIN)
    lines = {line.name: line for line in explain(settings, layers)}
    assert lines["api.port"].origin == "PORT in the environment"
    assert lines["sources.coingecko.api_key"].origin == "COINGECKO_API_KEY in the environment"
    assert lines["sources.coingecko.api_key"].value == "(set)"
    assert lines["api.rate_data"].origin == "default"


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("PORT", "http", "is not a whole number (set in PORT in the environment)"),
        ("PORT", "65536", "must be 65535 or less (set in PORT in the environment)"),
        ("CACHE_TTL_PRICES", "-1", "(set in CACHE_TTL_PRICES in the environment)"),
        ("RATE_LIMIT_OHLCV", "0", "must be 1 or more (set in RATE_LIMIT_OHLCV in the environment)"),
        ("SUPPORTED_SYMBOLS", "[BTC", "SUPPORTED_SYMBOLS (environment): '[BTC' is no list or group"),
    ],
)
def test_a_bad_plain_value_is_told_by_its_plain_name(name, value, remedy):
    with pytest.raises(ConfigError) as refused:
        load({name: value})
    assert remedy in str(refused.value)
    assert "\n" not in str(refused.value)

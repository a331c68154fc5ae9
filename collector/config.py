"""Settings: loaded once, checked, frozen; every mistake is one line with key, value and remedy.

Order, later wins: config/config.yaml, .env, the environment (`COLLECTOR_` prefix, `__` between levels), the
command line. Nothing else in the product reads the environment.
"""

import difflib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from apscheduler.triggers.cron import CronTrigger
from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from collector.errors import ConfigError
from collector.records import Dataset, Interval

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # a PyYAML built without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "COLLECTOR_"
LONGEST = timedelta(days=3660)  # ten years: longer is a slip of the finger, and far longer overflows dates
LONGEST_EVERY = timedelta(days=31)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_duration(value: Any) -> Any:
    """Return a timedelta of at most LONGEST from `90`, `90s`, `5m`, `1h`, `1d` or `1w`; ValueError otherwise."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"\s*(\d{1,9})\s*([smhdw]?)\s*", str(value))
    if isinstance(value, bool) or not match:
        raise ValueError("is not a duration; write a number with a unit, as 30s, 5m, 1h, 1d or 1w")
    seconds = int(match[1]) * _UNITS[match[2] or "s"]
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"is too long; the most is {LONGEST.days}d")
    return timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """Return the shortest spelling that `parse_duration` reads."""
    seconds = int(value.total_seconds())
    for unit in "wdhm":
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than zero, as 30s or 5m")
    return value


def _not_too_rare(value: timedelta) -> timedelta:
    if value > LONGEST_EVERY:
        raise ValueError(f"is too long; a cadence runs at least every {LONGEST_EVERY.days}d")
    return value


def _cron(value: str) -> str:
    try:
        trigger = CronTrigger.from_crontab(value, timezone=UTC)
    except ValueError as error:
        raise ValueError("is not a cron line of five fields (minute hour day month weekday, UTC)") from error
    if trigger.get_next_fire_time(None, datetime(2026, 1, 1, tzinfo=UTC)) is None:  # any start: the calendar repeats
        raise ValueError("never comes: no month of it has that day; mend day or month, as 20 0 * * *")
    return value


def _http_url(value: str) -> str:
    match = re.fullmatch(r"https?://(?:[A-Za-z0-9.\-_]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?(?:/[^\s?#]*)?", value)
    if not match or not _is_port(match[1]):
        raise ValueError("is not an http(s) address without query, as https://host or http://127.0.0.1:8000/path")
    return value.rstrip("/")


def _database_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if text and not re.match(r"postgres(ql)?(\+psycopg2)?://", text):
        raise ValueError("is not a PostgreSQL address; write postgresql://user:password@host:5432/name")
    place = r"[a-z2+]+://(?:[^:/]*(?::[^@]*)?@)?(?:\[[^/?]+\]|[^/:?]+)?(?::(\d{1,5}))?(?:[/?].*)?"
    match = re.fullmatch(place, text)
    if text and not (match and _is_port(match[1])):
        raise ValueError(
            "has no usable port; write postgresql://user:password@host:5432/name (%40 for @ in a password)"
        )
    return value


def _is_port(text: str | None) -> bool:
    return text is None or 1 <= int(text) < 1 << 16


def _folder(value: Any) -> Any:
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError("is not a folder; name one, or remove the setting for the usual one")
    return value


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):  # YAML reads yes, no, on and off so
        raise ValueError("is a switch, but another kind of value is wanted; quote a text")  # noqa: TRY004 - pydantic's contract
    return value


def _listed(value: Any) -> Any:
    """Let lists be written as `a, b` where only text fits: in the environment."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Intervals = Annotated[tuple[Interval, ...], BeforeValidator(_listed)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Folder = Annotated[Path, BeforeValidator(_folder)]


class Section(BaseModel):
    """A part of the settings: unknown keys are errors, values cannot be changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    @field_validator("*", mode="before")
    @classmethod
    def _switches_only_where_wanted(cls, value: Any, info: ValidationInfo) -> Any:
        return value if cls.model_fields[info.field_name or ""].annotation is bool else _no_switch(value)


class DatabaseSettings(Section):
    """Where rows are stored, and for how long raw answers are."""

    url: Annotated[SecretStr, AfterValidator(_database_url)] = Field(
        SecretStr(""), description="Address of a PostgreSQL 14 or newer; empty: the embedded server in data_dir"
    )
    keep_payloads: PositiveDuration = Field(timedelta(days=2), description="How long raw provider answers are kept")
    keep_ledger: PositiveDuration = Field(
        timedelta(days=30), description="How long jobs and rejected rows are kept; cycles stay"
    )


class LogSettings(Section):
    """Log files, their form and their retention."""

    directory: Folder = Field(Path("logs"), description="Folder of the cycle folders and of collector.log")
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field("INFO", description="Least level written")
    format: Literal["text", "json"] = Field("text", description="One line per event as text, or as JSON")
    keep: PositiveDuration = Field(timedelta(days=14), description="Age at which cycle folders are deleted")
    keep_mb: int = Field(512, ge=1, description="Total size in MB above which the oldest cycle folders are deleted")


class UniverseSettings(Section):
    """Which assets and instruments are followed."""

    top: int = Field(250, ge=1, le=5000, description="How many assets by market cap are followed")
    include: Words = Field((), description="Asset ids (or unambiguous symbols) followed whatever their rank")
    exclude: Words = Field((), description="Asset ids (or unambiguous symbols) never followed")
    quotes: Words = Field(
        ("USDT", "USDC", "USD"), min_length=1, description="Quote currencies of followed instruments, best first"
    )
    include_instruments: Words = Field((), description="Instruments followed beside the chosen ones")
    exclude_instruments: Words = Field((), description="Instruments never followed, as okx:BTC-USDT:perp")
    price_tolerance_pct: Decimal = Field(
        Decimal(3), gt=0, le=50, description="How far an instrument's price may be from its asset's to be matched"
    )


class CadenceSettings(Section):
    """When cycles of one kind start and how long they may start jobs."""

    every: Annotated[PositiveDuration, AfterValidator(_not_too_rare)] | None = Field(
        None, description="Run on the UTC grid of this length, as 5m"
    )
    cron: Annotated[str, AfterValidator(_cron)] | None = Field(None, description="Or a cron line of five fields, UTC")
    offset: Duration = Field(timedelta(0), description="Shift of the grid, so that cadences do not start together")
    deadline: PositiveDuration = Field(timedelta(minutes=4), description="Time after which a cycle starts no new job")

    @model_validator(mode="after")
    def _one_trigger(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise ValueError("needs exactly one of every and cron, as every: 5m")
        if self.every is not None and self.offset >= self.every:
            raise ValueError("has an offset that is not shorter than every")
        return self


class DatasetSettings(Section):
    """One dataset of one source; each dataset reads only the keys that mean something to it."""

    enabled: bool = Field(True, description="Whether this dataset is collected")
    cadence: str = Field("market", description="The cadence that collects this dataset")
    intervals: Intervals = Field((), description="Candle intervals, of 1m 5m 15m 1h 4h 1d 1w")
    history: int = Field(499, ge=1, le=100_000, description="Bars fetched for a series that holds none yet")
    levels: int = Field(50, ge=1, le=1000, description="Levels a side of an order book")
    assets: int = Field(5, ge=1, le=5000, description="Assets fetched per cycle, longest waiting first")
    lookback: PositiveDuration = Field(timedelta(days=30), description="Time fetched when nothing is stored yet")


class LimitSettings(Section):
    """One metered scope of a provider."""

    capacity: int = Field(ge=1, description="Units of weight (or calls) that fit into one window")
    window: PositiveDuration = Field(description="Length of the window, as 1m")


class SourceSettings(Section):
    """One provider."""

    enabled: bool = Field(True, description="Whether this source is collected")
    base_url: HttpUrl | None = Field(None, description="Root address; empty: the provider's public address")
    api_key: SecretStr | None = Field(None, description="Key of the provider, if the plan has one")
    plan: str = Field("public", description="Plan at the provider; sets its root address, key header and limits")
    parallelism: int = Field(16, ge=1, le=64, description="Calls under way at once")
    limits: dict[str, LimitSettings] = Field({}, description="Replaces documented limits, by metered scope")
    datasets: dict[Dataset, DatasetSettings] = Field({}, description="What is collected from this source, and when")


class ExtraIndicator(Section):
    """One more TA-Lib function."""

    function: str = Field(description="Name of a TA-Lib function, as CCI")
    parameters: dict[str, Annotated[float, BeforeValidator(_no_switch)]] = Field(
        {}, description="Its parameters, as timeperiod: 20"
    )


class IndicatorSettings(Section):
    """What is computed on closed candles."""

    enabled: bool = Field(True, description="Whether indicators are computed")
    intervals: Intervals = Field(
        (Interval.M1, Interval.H1, Interval.D1), description="Candle intervals with indicators"
    )
    swing_lookback: int = Field(120, ge=5, le=2000, description="Closed bars searched for the last swing (Fibonacci)")
    extra: tuple[ExtraIndicator, ...] = Field((), description="Further TA-Lib functions, stored in extra")


class HttpSettings(Section):
    """Bounds of every call to a provider."""

    connect_timeout_s: float = Field(3.0, gt=0, le=60, description="Longest wait for a connection")
    read_timeout_s: float = Field(10.0, gt=0, le=120, description="Longest silence within an answer")
    total_timeout_s: float = Field(15.0, gt=0, le=300, description="Longest time of a call from start to last byte")
    max_body_mb: int = Field(20, ge=1, le=500, description="Largest decompressed answer that is read")
    reserve_pct: int = Field(10, ge=0, le=90, description="Share of every limit that is left unused")


class Settings(BaseSettings):
    """All settings. Build with `load_settings`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    database: DatabaseSettings = Field(DatabaseSettings(), description="Where rows are stored")
    data_dir: Folder = Field(Path("data"), description="Folder of the embedded database")
    logs: LogSettings = Field(LogSettings(), description="Log files")
    universe: UniverseSettings = Field(UniverseSettings(), description="Which assets and instruments are followed")
    cadences: dict[str, CadenceSettings] = Field(min_length=1, description="When cycles start, by name")
    sources: dict[str, SourceSettings] = Field(min_length=1, description="Providers, by name")
    indicators: IndicatorSettings = Field(IndicatorSettings(), description="TA-Lib indicators")
    http: HttpSettings = Field(HttpSettings(), description="Bounds of every call")
    simulated: bool = Field(default=False, description="Marks everything stored and shown as simulated")

    @model_validator(mode="after")
    def _cadences_exist(self) -> Self:
        for name in self.cadences:
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name):
                raise ValueError(f"cadences.{name}: a name is lower-case letters, digits and _, at most 31")
        for source, part in self.sources.items():
            for dataset, settings in part.datasets.items():
                if settings.cadence not in self.cadences:
                    raise ValueError(
                        f"sources.{source}.datasets.{dataset}.cadence: {settings.cadence!r} is no cadence; "
                        f"use one of {', '.join(self.cadences)} or add it under cadences"
                    )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what `load_settings` hands over: it merges the layers, so that it can name the origins."""
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Layer:
    """One origin of settings and the tree it gives."""

    origin: str
    tree: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Explained:
    """One setting as `config explain` prints it. Secrets show only whether they are set."""

    name: str
    value: str
    origin: str
    description: str


def load_settings(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    env_file: Path | None = None,
    overrides: Sequence[Layer] = (),
) -> tuple[Settings, tuple[Layer, ...]]:
    """Return the checked settings and the layers they came from, weakest first.

    `file` defaults to config/config.yaml, `environment` to the process environment. `env_file` defaults to .env,
    which may be absent; with an `environment` handed in, it is read only when named. Relative folders are taken
    from the product's root. Raises ConfigError with one line.
    """
    file = file or ROOT / "config" / "config.yaml"
    layers = [Layer(str(_shown(file)), _read_yaml(file))]
    if env_file or environment is None:
        env_file = env_file or ROOT / ".env"
        layers.append(Layer(str(_shown(env_file)), _from_names(_read_env(env_file), str(_shown(env_file)))))
    layers.append(Layer("environment", _from_names(os.environ if environment is None else environment)))
    layers += overrides
    tree: dict[str, Any] = {}
    for layer in layers:
        tree = _merge(tree, layer.tree)
    try:
        settings = Settings(**tree)
    except ValidationError as error:
        raise ConfigError(_one_line(error, layers).replace("\n", "\\n")) from error
    return _with_absolute_folders(settings), tuple(layers)


def explain(settings: Settings, layers: Sequence[Layer]) -> list[Explained]:
    """Return every setting with its value, where it came from and what it means, in declaration order."""
    lines = []
    for path, value, description in _leaves(settings, ()):
        origins = [layer.origin for layer in layers if _has(layer.tree, path)]
        lines.append(Explained(".".join(path), _show(value), origins[-1] if origins else "default", description))
    return lines


def environment_name(path: str) -> str:
    """Return the environment variable that sets a dotted setting."""
    return PREFIX + path.upper().replace(".", "__")


class _Twice(yaml.MarkedYAMLError):
    """A key stands twice in one group."""


class _Loader(SafeLoader):
    """Safe YAML in which a key that stands twice in one group is an error: the first would be lost silently."""

    def get_single_node(self) -> yaml.Node | None:
        root = super().get_single_node()
        waiting, seen = [root], set()
        while waiting:
            node = waiting.pop()
            if id(node) in seen or not isinstance(node, yaml.CollectionNode):
                continue
            seen.add(id(node))  # anchors make it a graph
            waiting += [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
            words = set()
            for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
                if isinstance(key, yaml.ScalarNode) and key.value in words:
                    problem = f"has the key {key.value!r} twice; remove one of the two"
                    raise _Twice(problem=problem, problem_mark=key.start_mark)
                words.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return root


def _parse_yaml(text: str) -> Any:
    """Return what a YAML text holds; ValueError or YAMLError when it cannot be read."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _read_text(file: Path, remedy: str) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{_shown(file)}: cannot be read ({error.strerror}); {remedy}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{_shown(file)} line {line}: is not UTF-8 text; save the file as UTF-8") from error


def _read_yaml(file: Path) -> dict[str, Any]:
    text = _read_text(file, "restore it or name another with --config")
    try:
        tree = _parse_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        problem = (
            error.problem if isinstance(error, _Twice) else "is not valid YAML; check indentation and colons there"
        )
        raise ConfigError(f"{_shown(file)}{line}: {problem}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{_shown(file)}: holds no settings; restore the shipped config/config.yaml")
    return {str(key): value for key, value in tree.items()}


def _read_env(file: Path) -> dict[str, str]:
    """Return the names and texts of an .env file, none when there is no such file."""
    if not file.exists() and not file.is_symlink():
        return {}
    text = _read_text(file, "make it a readable text file or remove it")
    for binding in parse_stream(io.StringIO(text)):
        lines = binding.original.string
        ours = re.match(rf"\s*(?:export\s+)?({PREFIX}\w+)", lines, re.IGNORECASE)  # other words may be secrets
        if binding.error or (ours and binding.key and binding.value is None):
            line = binding.original.line + lines[: len(lines) - len(lines.lstrip())].count("\n")
            what = f"{ours[1] if ours else 'the line'} (value hidden) is not NAME=value"
            raise ConfigError(f"{_shown(file)} line {line}: {what}; mend it, close every quote, or put # before it")
    return {key: value or "" for key, value in dotenv_values(stream=io.StringIO(text)).items()}


def _from_names(names: Mapping[str, str], where: str = "environment") -> dict[str, Any]:
    """Turn COLLECTOR_A__B=x into {a: {b: x}}; lists and objects may be written as YAML flow."""
    tree: dict[str, Any] = {}
    for name, text in sorted(names.items()):
        if not name.upper().startswith(PREFIX):
            continue
        path = name[len(PREFIX) :].lower().split("__")
        if path[0] not in Settings.model_fields:
            raise ConfigError(f"{name} ({where}): no such setting{_suggest(path[0], Settings.model_fields)}")
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{name} ({where}): a shorter name sets the same part already; remove one of the two")
        try:
            node[path[-1]] = _parse_yaml(text) if text.lstrip()[:1] in ("[", "{") and not _is_secret(path) else text
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            problem = error.problem if isinstance(error, _Twice) else "is no list or group; write [a, b] or {a: b}"
            raise ConfigError(f"{name} ({where}): {_quoted(path, text)} {problem}") from error
    return tree


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _with_absolute_folders(settings: Settings) -> Settings:
    logs = settings.logs.model_copy(update={"directory": ROOT / settings.logs.directory})
    return settings.model_copy(update={"logs": logs, "data_dir": ROOT / settings.data_dir})


_PLAIN_WORDS = {
    **dict.fromkeys(("int_parsing", "int_from_float", "int_type"), "is not a whole number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "is neither true nor false"),
    **dict.fromkeys(("float_parsing", "float_type", "decimal_parsing", "decimal_type"), "is not a number"),
    "string_type": "is not a text; write it in quotes",
    "path_type": "is not a folder; name one, or remove the setting for the usual one",
    "tuple_type": "is not a list; write it as [a, b]",
    "too_short": "needs at least one entry",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    **dict.fromkeys(("model_type", "dict_type"), "is not a group of settings; write those inside it one by one"),
}


def _one_line(error: ValidationError, layers: Sequence[Layer]) -> str:
    """Say the first mistake: key, value, what is wrong, and where to mend it."""
    first = error.errors(include_url=False)[0]
    path = tuple(str(part) for part in first["loc"] if part != "[key]")
    name = ".".join(path)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"{name}: no such setting{_suggest(path[-1], _known_at(path[:-1]))}{_mend(path, layers)}"
    if first["type"] == "missing":
        return f"{name}: is missing; add it to config/config.yaml or set {environment_name(name)}"
    if isinstance(first["input"], (dict, Settings)) and not path:
        return message
    if first["type"] in _PLAIN_WORDS:
        message = _PLAIN_WORDS[first["type"]].format_map(first.get("ctx", {}))
    return f"{name}: {_quoted(path, first['input'])} {message[:1].lower()}{message[1:]}{_mend(path, layers)}"


def _is_secret(path: Sequence[str]) -> bool:
    return path[-1] in ("url", "api_key")


def _quoted(path: Sequence[str], value: Any) -> str:
    """Return a value as a message may show it: short, and nothing of a key or of an address with a password."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return "the value (hidden)" if _is_secret(path) or re.search(r"://.*@|api_key|\burl\b", text) else text[:80]


def _mend(path: tuple[str, ...], layers: Sequence[Layer]) -> str:
    origins = [layer.origin for layer in layers if _has(layer.tree, path)]
    if not origins:
        return ""
    at = f"{environment_name('.'.join(path))} in the {origins[-1]}" if origins[-1] == "environment" else origins[-1]
    return f" (set in {at})"


def _suggest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; remove it, or use one of: {', '.join(known)}"


def _known_at(path: tuple[str, ...]) -> list[str]:
    """Return the setting names that exist at a place of the tree."""
    model: Any = Settings
    for part in path:
        field = model.model_fields.get(part) if isinstance(model, type) and issubclass(model, BaseModel) else None
        model = _inner(field.annotation) if field else model if _is_model(model) else None
    return list(model.model_fields) if _is_model(model) else []


def _inner(annotation: Any) -> Any:
    models = [part for part in (annotation, *get_args(annotation)) if _is_model(part)]
    return models[-1] if models else None


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _leaves(section: BaseModel, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        here = (*path, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, here)
        elif isinstance(value, dict) and value and all(isinstance(item, BaseModel) for item in value.values()):
            for key, item in value.items():
                yield from _leaves(item, (*here, str(key)))
        else:
            yield here, value, field.description or ""


def _show(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else ""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _has(tree: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(tree, Mapping) or part not in tree:
            return False
        tree = tree[part]
    return True


def _shown(file: Path) -> Path:
    """Return a path as a person at the product's root would write it."""
    return file.relative_to(ROOT) if file.is_relative_to(ROOT) else file

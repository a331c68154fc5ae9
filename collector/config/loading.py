"""Reads the layers of settings, merges them, checks the result and says the first mistake in one line."""

import difflib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import yaml
from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import BaseModel, SecretStr, ValidationError

from collector.config.sections import Settings
from collector.config.values import format_duration
from collector.errors import ConfigError

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # a PyYAML built without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]


ROOT = Path(__file__).resolve().parent.parent.parent
PREFIX = "COLLECTOR_"
MOST_NAMED = 3  # variables that a message about a group names
PLAIN_NAMES: Mapping[str, str] = {
    "PORT": "api.port",
    "HOST": "api.host",
    "CACHE_TTL_PRICES": "api.ttl_prices",
    "CACHE_TTL_OHLCV": "api.ttl_ohlcv",
    "CACHE_TTL_SENTIMENT": "api.ttl_sentiment",
    "RATE_LIMIT_PRICES": "api.rate_prices",
    "RATE_LIMIT_OHLCV": "api.rate_ohlcv",
    "RATE_LIMIT_SENTIMENT": "api.rate_sentiment",
    "COINGECKO_API_KEY": "sources.coingecko.api_key",
    "SUPPORTED_SYMBOLS": "api.symbols",
}
"""Names without our prefix that other programs of this kind use, and the settings they set."""
# A key says nothing of its plan: this is the one that is given away. COLLECTOR_SOURCES__COINGECKO__PLAN names another.
_PLAN_OF_A_PLAIN_KEY = "demo"


@dataclass(frozen=True, slots=True)
class Layer:
    """One origin of settings and the tree it gives."""

    origin: str
    tree: Mapping[str, Any]
    names: Mapping[tuple[str, ...], str] = field(default_factory=dict)  # path -> the variable that set it

    def origin_of(self, path: tuple[str, ...]) -> str:
        """Return where a setting, or something of a group, was set in this layer; empty: it was not."""
        if not _has(self.tree, path):
            return ""
        above = [self.names[path[:size]] for size in range(len(path), 0, -1) if path[:size] in self.names]
        found = above[:1] or [name for place, name in self.names.items() if place[: len(path)] == path]
        return f"{', '.join(found[:MOST_NAMED])} in {self.origin}" if found else self.origin


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

    Plain names (PORT and so on) are weaker than any COLLECTOR_ name; an empty one says nothing. A COLLECTOR_ name with
    _FILE behind it names a file that holds the value.
    `file` defaults to config/config.yaml, `environment` to the process environment. `env_file` defaults to .env,
    which may be absent; with an `environment` handed in, it is read only when named. Relative folders are taken
    from the product's root. Raises ConfigError with one line.
    """
    file = file or ROOT / "config" / "config.yaml"
    layers = [Layer(str(_shown(file)), _read_yaml(file))]
    names: Mapping[str, str]
    named = []
    if env_file or environment is None:
        env_file = env_file or ROOT / ".env"
        names, where = _read_env(env_file), str(_shown(env_file))
        layers += _from_plain_names(names, where)
        named += [_from_names(names, where), *_from_files(names, where)]
    names = os.environ if environment is None else environment
    layers += _from_plain_names(names, "environment")
    layers += [*named, _from_names(names, "environment"), *_from_files(names, "environment"), *overrides]
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
        lines.append(Explained(".".join(path), _show(value), _origin(path, layers) or "default", description))
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


def _from_plain_names(names: Mapping[str, str], where: str) -> list[Layer]:
    """Return a layer for each plain name that is set, so that its origin is told by that name."""
    layers = []
    for name, path in PLAIN_NAMES.items():
        text = names.get(name, "").strip()
        if not text:
            continue
        *groups, key = path.split(".")
        tree: dict[str, Any] = {key: _value([*groups, key], text, name, where)}
        if key == "api_key":
            tree["plan"] = _PLAN_OF_A_PLAIN_KEY
        for group in reversed(groups):
            tree = {group: tree}
        layers.append(Layer(f"{name} in {_spoken(where)}", tree))
    return layers


def _spoken(where: str) -> str:
    return "the environment" if where == "environment" else where


def _value(path: Sequence[str], text: str, name: str, where: str) -> Any:
    """Return what a text of the environment stands for: itself, or the list or group that it spells."""
    try:
        return _parse_yaml(text) if text.lstrip()[:1] in ("[", "{") and not _is_secret(path) else text
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = error.problem if isinstance(error, _Twice) else "is no list or group; write [a, b] or {a: b}"
        raise ConfigError(f"{name} ({where}): {_quoted(path, text)} {problem}") from error


def _from_names(names: Mapping[str, str], where: str) -> Layer:
    """Turn COLLECTOR_A__B=x into {a: {b: x}}; lists and objects may be written as YAML flow."""
    tree: dict[str, Any] = {}
    origins: dict[tuple[str, ...], str] = {}
    for name, text in sorted(names.items()):
        if not _is_value(name):
            continue
        path = _path_of(name)
        if path[0] not in Settings.model_fields:
            raise ConfigError(f"{name} ({where}): no such setting{_suggest(path[0], Settings.model_fields)}")
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{name} ({where}): a shorter name sets the same part already; remove one of the two")
        node[path[-1]] = _value(path, text, name, where)
        origins[tuple(path)] = name
    return Layer(_spoken(where), tree, origins)


_FILE = "_file"
_TARGETS = ["alerts", "targets"]


def _path_of(name: str) -> list[str]:
    return name[len(PREFIX) :].lower().split("__")


def _is_value(name: str) -> bool:
    """Return whether a name is ours and holds the value itself."""
    return name.upper().startswith(PREFIX) and _in_a_file(name) is None


def _meant(path: Sequence[str]) -> tuple[str, ...]:
    """Return the path of a setting, in which the short form of a target's address is the long one."""
    short = list(path[:-1]) == _TARGETS
    return (*path, "url") if short else tuple(path)


def _in_a_file(name: str) -> list[str] | None:
    """Return the path of the setting whose value is in the file that COLLECTOR_..._FILE names; None for other names."""
    if not name.upper().startswith(PREFIX) or not name.lower().endswith(_FILE):
        return None
    *groups, key = _path_of(name)
    if groups == _TARGETS and key.endswith(_FILE):  # the short form of a target's address
        return [*groups, key.removesuffix(_FILE)]
    known = _known_at(tuple(groups))
    return [*groups, key.removesuffix(_FILE)] if key not in known and key.removesuffix(_FILE) in known else None


def _from_files(names: Mapping[str, str], where: str) -> list[Layer]:
    """Return a layer for each setting that is read from a file of its own, as secrets of containers and units are.

    The text loses the space around it, so that an editor's last line end is no part of a key.
    """
    layers = []
    given = {_meant(_path_of(name)): name for name, text in names.items() if _is_value(name) and text.strip()}
    for name, file in sorted(names.items()):
        path = _in_a_file(name)
        if path is None or not file.strip():
            continue
        other = given.setdefault(_meant(path), name)
        if other != name:
            raise ConfigError(f"{name} ({where}): {other} is set as well; remove one of the two")
        place = Path(file.strip())
        text = _read_text(place, f"it is named by {name}; make it a readable text file or remove the name").strip()
        if not text:
            raise ConfigError(f"{name} ({where}): the file {place} is empty; fill it or remove the name")
        tree: Any = _value(path, text, name, where)
        for group in reversed(path):
            tree = {group: tree}
        layers.append(Layer(f"{name} in {_spoken(where)}", tree))
    return layers


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
    origin = _origin(path, layers)
    return f" (set in {origin})" if origin else ""


def _origin(path: tuple[str, ...], layers: Sequence[Layer]) -> str:
    """Return where a setting was last set; empty: nowhere."""
    return next(filter(None, (layer.origin_of(path) for layer in reversed(layers))), "")


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
    for name, about in type(section).model_fields.items():
        value = getattr(section, name)
        here = (*path, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, here)
        elif isinstance(value, dict) and value and all(isinstance(item, BaseModel) for item in value.values()):
            for key, item in value.items():
                yield from _leaves(item, (*here, str(key)))
        else:
            yield here, value, about.description or ""


def _show(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else ""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple):
        return ", ".join(format_duration(item) if isinstance(item, timedelta) else str(item) for item in value)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _has(tree: Any, path: tuple[str, ...]) -> bool:
    """Return whether a tree says something of a path; a text instead of a group, as of a target, says it all."""
    for part in path:
        if isinstance(tree, str):
            return True
        if not isinstance(tree, Mapping) or part not in tree:
            return False
        tree = tree[part]
    return True


def _shown(file: Path) -> Path:
    """Return a path as a person at the product's root would write it."""
    return file.relative_to(ROOT) if file.is_relative_to(ROOT) else file

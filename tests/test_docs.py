"""The documents say what the program does: settings, options, tables, columns, limits and queries are compared."""

import argparse
import inspect
import re
import shlex
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, SecretStr
from sqlalchemy.dialects import postgresql

from collector import cli, cli_commands
from collector.config import Settings, environment_name, explain, format_duration, load_settings
from collector.sources import SOURCES
from collector.storage.models import METADATA
from collector.storage.models.views import COMMENTS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
OPERATIONS, DICTIONARY, QUERIES, SOURCES_PAGE = (
    (DOCS / f"{name}.md").read_text(encoding="utf-8")
    for name in ("operations", "data-dictionary", "queries", "sources")
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {file.stem: file.read_text(encoding="utf-8") for file in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
SHIPPED = {
    **PAGES,
    "data-dictionary": DICTIONARY,
    "docker-compose.yml": (ROOT / "docker-compose.yml").read_text(encoding="utf-8"),
    "env.example": (ROOT / "config" / "env.example").read_text(encoding="utf-8"),
    **{file.name: file.read_text(encoding="utf-8") for file in (ROOT / "deploy").iterdir() if file.is_file()},
}


def table(page: str, heading: str) -> list[list[str]]:
    """The body cells of the first table under a heading; a cell's `code` marks are kept."""
    _, found, rest = page.partition(f"{heading}\n")
    assert found, f"the page has no heading {heading!r}"
    body = re.split(r"\n#{1,3} ", rest, maxsplit=1)[0]
    rows = [line for line in body.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]


def code(text: str) -> str:
    return text.strip("`")


# --------------------------------------------------------------------------- settings


def settings_of(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting as (pattern, field), as in `cadences.<name>.every`."""
    names = {"cadences": "<cadence>", "sources": "<source>", "datasets": "<dataset>", "limits": "<scope>"}
    names["targets"] = "<target>"
    for name, field in model.model_fields.items():
        here = f"{path}.{name}" if path else name
        inner = [part for part in (field.annotation, *get_args(field.annotation)) if is_model(part)]
        if not inner or name == "extra":
            yield here, field
        elif is_model(field.annotation):
            yield from settings_of(field.annotation, here)
        else:
            yield from settings_of(inner[-1], f"{here}.{names[name]}")


def is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def shown_default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, timedelta):
        value = format_duration(value)
    if value is None or value in ((), {}) or (isinstance(value, SecretStr) and not value.get_secret_value()):
        return ""
    if isinstance(value, tuple):
        return f"`{', '.join(format_duration(item) if isinstance(item, timedelta) else str(item) for item in value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_every_setting_is_explained_with_its_default():
    written = {code(name): (default, meaning) for name, default, meaning in table(OPERATIONS, "### All settings")}
    real = {name: (shown_default(field), field.description) for name, field in settings_of(Settings)}
    assert written == real


def test_every_printed_setting_fits_a_documented_pattern():
    patterns = [re.sub(r"<\w+>", r"[a-z0-9_]+", re.escape(name)) for name, _ in settings_of(Settings)]
    patterns += [
        r"sources\.[a-z0-9_]+\.limits",
        r"retention\.datasets",
        r"alerts\.targets",
    ]  # shown as one when they are empty
    names = [line.name for line in explain(*load_settings(environment={}))]
    assert [name for name in names if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []


@pytest.mark.parametrize("page", SHIPPED)
def test_environment_variables_named_in_a_page_exist(page):
    names = set(re.findall(r"\bCOLLECTOR_[A-Z0-9_]+[A-Z0-9]", SHIPPED[page]))
    known = [re.sub(r"<\w+>", "[a-z0-9_]+", name).upper().replace(".", "__") for name, _ in settings_of(Settings)]
    known = [pattern.replace("[A-Z0-9_]+", "[A-Z0-9_]+?") for pattern in known]
    known += ["ALERTS__TARGETS__[A-Z0-9]+", "TEST_DATABASE_URL"]  # a target's address in short; of the tests alone
    wrong = [name for name in names if not any(re.fullmatch(f"COLLECTOR_{pattern}(_FILE)?", name) for pattern in known)]
    assert wrong == []


def test_the_rule_for_environment_names_is_the_program_s():
    assert environment_name("sources.binance_futures.base_url") == "COLLECTOR_SOURCES__BINANCE_FUTURES__BASE_URL"
    assert "`COLLECTOR_SOURCES__BINANCE_FUTURES__BASE_URL`" in OPERATIONS


# --------------------------------------------------------------------------- command line


def commands_of(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """Every command and option as (command, option or "", help)."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, inner in action.choices.items():
                yield " ".join((*words, name)), "", helps[name]
                yield from commands_of(inner, (*words, name))
        elif action.option_strings and not isinstance(action, argparse._HelpAction):
            yield " ".join(words), action.option_strings[-1], action.help or ""


COMMANDS = list(commands_of(cli.build_parser()))


def names_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every name that the parser gives to a command."""
    if parser.get_default("command"):
        yield parser.get_default("command")
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from names_of(inner)


def test_every_command_of_the_parser_has_its_work():
    assert set(cli_commands.COMMANDS) == set(names_of(cli.build_parser()))
    for module, made in cli_commands.LATER.items():
        for function in made.values():
            work = getattr(import_module(f"collector.{module}"), function)
            assert len(inspect.signature(work).parameters) == 2, f"{module}.{function}"


def test_every_command_and_option_is_in_the_table():
    written = {(code(command), code(option)) for command, option, _ in table(OPERATIONS, "### All commands")}
    real = {(command, option) for command, option, _ in COMMANDS}
    assert {(command.split(" <")[0], option.split(" ")[0]) for command, option in written} == real


def test_commands_shown_in_the_pages_are_accepted():
    parser = cli.build_parser()
    shown = 0
    for page, text in PAGES.items():
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                call = re.search(r"main\.py([^|>&;)]*)", line.partition("  #")[0])
                if call is None or "psql" in line:  # the words after psql are psql's
                    continue
                words = [word for word in shlex.split(call[1]) if not word.startswith("$")]
                assert parser.parse_args(words) is not None, f"{page}: {line}"
                shown += 1
    assert shown >= 10


def test_every_exit_code_is_explained():
    written = {int(code(number)) for number, _ in table(OPERATIONS, "### Exit codes")}
    assert written == {cli.OK, cli.NOT_ALL_WELL, cli.USAGE, cli.LOCKED, cli.DEFECT, 130}


def test_log_events_named_in_the_table_are_really_written():
    written = {code(cells[0]) for cells in table(OPERATIONS, "### Events worth knowing")}
    source = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "collector").rglob("*.py"))
    assert {event for event in written if f'"{event}"' not in source} == set()


# --------------------------------------------------------------------------- tables


def columns_of(name: str) -> list[list[str]]:
    return [
        [f"`{column.name}`", kind(column), "yes" if column.nullable else "", column.comment or ""]
        for column in METADATA.tables[name].columns
    ]


def kind(column: Any) -> str:
    name = column.type.compile(postgresql.dialect()).lower()
    for long, short in {"timestamp with time zone": "timestamptz", "double precision": "float8"}.items():
        name = name.replace(long, short)
    return name


@pytest.mark.parametrize("name", sorted(METADATA.tables))
def test_the_dictionary_explains_every_column_as_the_database_does(name):
    written = table(DICTIONARY, f"### {name}")
    assert written == columns_of(name), "\n" + "\n".join(f"| {' | '.join(row)} |" for row in columns_of(name))


def test_the_dictionary_says_what_a_row_of_each_table_is():
    for name, found in METADATA.tables.items():
        key = ", ".join(f"`{column.name}`" for column in found.primary_key.columns)
        assert f"### {name}\n\n{found.comment}. Key: {key}." in DICTIONARY, f"{found.comment}. Key: {key}."


def test_the_dictionary_has_no_table_that_does_not_exist():
    assert set(re.findall(r"^### (\w+)$", DICTIONARY, re.MULTILINE)) == set(METADATA.tables)


def test_every_view_is_listed():
    assert {code(cells[0]): cells[1] for cells in table(DICTIONARY, "## Views")} == dict(COMMENTS)


def test_every_example_query_runs(database):
    blocks = re.findall(r"```sql\n(.*?)```", QUERIES, re.DOTALL)
    assert len(blocks) >= 20
    failed = {}
    with database.reading("documentation") as connection:
        cursor = connection.connection.cursor()
        for block in blocks:
            cursor.execute("SAVEPOINT before")
            try:
                cursor.execute(block)
                cursor.fetchall()
            except cursor.connection.Error as error:
                failed[block] = str(error)
            cursor.execute("ROLLBACK TO SAVEPOINT before")
    assert failed == {}


# --------------------------------------------------------------------------- sources


def test_every_plan_and_limit_of_a_provider_is_listed():
    written = [[code(cell) for cell in row[:6]] for row in table(SOURCES_PAGE, "## Plans and limits")]
    real = [
        [name, plan_name, plan.base_url, limit.scope, str(limit.capacity), format_duration(limit.window)]
        for name, source in sorted(SOURCES.items())
        for plan_name, plan in source.plans.items()
        for limit in plan.limits
    ]
    assert sorted(written) == sorted(real), "\n".join(f"| {' | '.join(f'`{cell}`' for cell in row)} |" for row in real)


def test_cadences_in_the_sources_page_are_those_of_the_shipped_settings():
    settings, _ = load_settings(environment={})
    written = {(code(row[0]), code(row[1])): code(row[2]) for row in table(SOURCES_PAGE, "## What is fetched")}
    real = {
        (name, str(dataset)): choice.cadence
        for name, part in settings.sources.items()
        for dataset, choice in part.datasets.items()
    }
    assert written == real


# --------------------------------------------------------------------------- links


@pytest.mark.parametrize("page", SHIPPED)
def test_files_named_in_a_page_exist(page):
    folders = "docs|deploy|config|collector|tests|migrations|benchmarks"
    named = set(re.findall(rf"`((?:{folders})/[\w./@-]*)`", SHIPPED[page]))
    named |= {f"docs/{link}" for link in re.findall(r"\]\((?!http|#)([\w./-]+)", SHIPPED[page]) if page != "README"}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []

"""A source is five things in five places; this demands that all five name the same set, down to the dataset."""

import json
import re
from pathlib import Path

import pytest
import yaml

from collector import providers
from collector.config import Layer, load_settings
from collector.records import Dataset
from collector.sources import SOURCES
from collector.sources.base import Shape

HERE = Path(__file__).parent
ROOT = HERE.parent
CONFIG = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
SOURCES_PAGE = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \| `", SOURCES_PAGE, re.MULTILINE)

OFFERED = {(name, str(dataset)) for name, source in SOURCES.items() for dataset in source.shapes}
LISTS = {Dataset.LISTING}  # names only: nothing in them can be zero


def payload_names(name: str) -> set[str]:
    return {file.stem for file in (HERE / "payloads" / name).iterdir()}


def is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def test_every_place_names_the_same_sources():
    files = {file.stem for file in (ROOT / "collector" / "sources").glob("*.py")}
    places = {
        "files": {name for name in files if not name.startswith("_")} - {"base"},
        "settings": set(CONFIG["sources"]),
        "payloads": {folder.name for folder in (HERE / "payloads").iterdir() if folder.is_dir()},
        "tests": {file.stem.removeprefix("test_") for file in (HERE / "sources").glob("test_*.py")},
        "documented": {source for source, _, _ in ROWS},
        "limits documented": set(re.findall(r"^\| `(\w+)` \| `\w+` \| `https", SOURCES_PAGE, re.MULTILINE)),
        "services": set(providers.SERVICES),
    }
    assert {place: names for place, names in places.items() if names != set(SOURCES)} == {}


def test_sources_are_registered_under_their_own_names():
    assert {name: source.name for name, source in SOURCES.items()} == {name: name for name in SOURCES}


def test_settings_collect_every_dataset_that_a_source_offers_and_no_other():
    configured = {(name, dataset) for name, part in CONFIG["sources"].items() for dataset in part["datasets"]}
    assert configured == OFFERED


def test_the_shipped_settings_become_tasks_once_everything_is_switched_on():
    on = {"sources": {name: {"enabled": True, "datasets": {}} for name in SOURCES}}
    for name, dataset in OFFERED:
        on["sources"][name]["datasets"][dataset] = {"enabled": True}
    tasks = providers.build_tasks(load_settings(environment={}, overrides=[Layer("test", on)])[0])
    assert {(task.source, str(task.dataset)) for task in tasks} == OFFERED


def test_every_dataset_of_a_source_is_documented_once():
    documented = [(source, dataset) for source, dataset, _ in ROWS]
    assert sorted(documented) == sorted(OFFERED)


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_can_parse_all_that_it_can_fetch(name):
    assert set(SOURCES[name].parsers) == set(SOURCES[name].shapes)


def test_what_is_shipped_switched_off_is_what_gives_nothing_without_a_key():
    off = {name for name, part in CONFIG["sources"].items() if not part.get("enabled", True)}
    assert off == {name for name, source in SOURCES.items() if "public" not in source.plans}


@pytest.mark.parametrize("name", SOURCES)
def test_every_plan_but_the_public_one_has_a_key_and_all_have_limits(name):
    plans = SOURCES[name].plans
    assert {title for title, plan in plans.items() if plan.key_header is None} == {"public"} & set(plans)
    assert all(plan.limits for plan in plans.values())
    assert all(limit.capacity > 0 for plan in plans.values() for limit in plan.limits)


@pytest.mark.parametrize(("name", "dataset"), sorted(OFFERED))
def test_a_parser_is_tested_with_a_normal_an_empty_a_zero_and_an_error_answer(name, dataset):
    situations = ["normal", "empty"] + (["zero"] if dataset not in LISTS else [])
    found = payload_names(name)
    assert [word for word in situations if f"{dataset}__{word}" not in found] == []
    own_error, shared_error = f"{dataset}__error" in found, any(stem.startswith("error__") for stem in found)
    assert own_error or shared_error


@pytest.mark.parametrize("name", SOURCES)
def test_payload_files_are_named_for_a_dataset_and_a_situation(name):
    known = {*SOURCES[name].shapes, "error"}
    assert [stem for stem in payload_names(name) if stem.partition("__")[0] not in known or "__" not in stem] == []


@pytest.mark.parametrize("name", SOURCES)
def test_payload_files_that_end_in_json_are_json(name):
    files = list((HERE / "payloads" / name).glob("*.json"))
    assert files != []
    assert [file.name for file in files if not is_json(file)] == []


@pytest.mark.parametrize("name", SOURCES)
def test_payload_files_are_read_by_a_test(name):
    """A file that no test names guards nothing; names made of variables count by their situation."""
    tests = [HERE / "sources" / f"test_{name}.py", *(HERE / "sources" / name).glob("*.py")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in tests)
    unread = [stem for stem in payload_names(name) if stem not in text and stem.partition("__")[2] not in text]
    assert unread == []


def test_jobs_for_one_asset_belong_to_sources_that_list_assets():
    for source in SOURCES.values():
        if Shape.EACH_ASSET in source.shapes.values():
            assert Dataset.LISTING in source.shapes, source.name
        if {Shape.EACH, Shape.BULK} & set(source.shapes.values()):
            assert Dataset.INSTRUMENTS in source.shapes, source.name

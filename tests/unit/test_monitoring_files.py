"""The shipped rules and the dashboard of Prometheus and Grafana: every metric and label in them exists."""

import json
import re
import shlex
from itertools import chain
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from collector import cli
from collector.alerts import rules
from collector.alerts.exposition import text_of
from collector.alerts.metrics import families
from collector.alerts.targets import build_targets
from collector.api.metrics import Metrics
from collector.config import load_settings
from tests.alerts.test_metrics import FULL, TOTALS
from tests.alerts.vitals_samples import EXPECTED

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
MONITORING = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
SCRAPED_WITH = {"job", "instance"}  # labels that Prometheus adds
NAME = re.compile(r"\b(collector_[a-z0-9_]+|up)\b")


def known():
    """Labels of every metric: of the collector's own text, and of what the API registers."""
    api = Metrics()
    api.count("/api/prices", "GET", 200, 0.01)
    api.register("collector_api_rate_limited_total", "Requests refused.", lambda: [({}, 1)], kind="counter")
    text = text_of(families(FULL, TOTALS, EXPECTED, 0.03)) + api.text()
    found = {"up": set()}
    for sample in chain.from_iterable(family.samples for family in text_string_to_metric_families(text)):
        found[sample.name] = set(sample.labels)
    return found


KNOWN = known()


def wrong(expression):
    """What an expression names that does not exist: metrics, labels of selectors, labels it groups or joins by."""
    names = NAME.findall(expression)
    assert names, expression
    found = [name for name in names if name not in KNOWN]
    for name, selector in re.findall(r"(\w+)\{([^}]*)\}", expression):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        found += [f"{name}{{{label}}}" for label in labels - KNOWN.get(name, set()) - SCRAPED_WITH]
    everywhere = set().union(SCRAPED_WITH, *(KNOWN.get(name, set()) for name in names))
    for group in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expression):
        found += [label for label in map(str.strip, group.split(",")) if label and label not in everywhere]
    return found


def left(expression):
    """Labels that the result may have."""
    grouped = re.findall(r"\bby\s*\(([^)]*)\)", expression)
    if grouped:
        return {label.strip() for group in grouped for label in group.split(",")}
    return set().union(SCRAPED_WITH, *(KNOWN[name] for name in NAME.findall(expression)))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_rule_uses_what_is_there(rule):
    assert wrong(rule["expr"]) == []
    told = " ".join(rule["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", told)) <= left(rule["expr"])
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert re.fullmatch(r"\d+m", rule["for"])


@pytest.mark.parametrize(
    ("title", "target"), TARGETS, ids=lambda item: item if isinstance(item, str) else item["refId"]
)
def test_every_panel_uses_what_is_there(title, target):
    assert wrong(target["expr"]) == []
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= left(target["expr"])


def test_the_check_notices_what_is_not_there():
    assert wrong("collector_source_faling == 1") == ["collector_source_faling"]
    assert wrong('collector_source_failing{souce="okx"}') == ["collector_source_failing{souce}"]
    assert wrong("sum by (tabel) (collector_table_size_bytes)") == ["tabel"]
    assert left("sum by (table) (collector_table_size_bytes)") == {"table"}


def test_every_metric_of_the_collector_is_on_the_dashboard_or_in_a_rule_or_told_why_not():
    used = set(NAME.findall(" ".join([rule["expr"] for rule in RULES] + [target["expr"] for _, target in TARGETS])))
    spare = {
        "collector_coverage_series",
        "collector_coverage_held_seconds",
        "collector_coverage_unavailable_seconds",
        "collector_source_clock_offset_seconds",
        "collector_disk_capacity_bytes",
        "collector_disk_growth_bytes_per_second",
        "collector_vitals_read_seconds",
        "collector_alerts_selftest_timestamp_seconds",
    }  # for questions that come later
    assert {family.name for family in families(FULL, TOTALS, EXPECTED, 0.03)} - used == spare


def test_rules_have_names_of_their_own():
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_panels_lie_side_by_side_and_not_on_each_other():
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_dashboard_asks_for_its_data_source_when_it_is_imported():
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "job", "instance"}
    assert {target["datasource"]["uid"] for _, target in TARGETS} == {"${datasource}"}


def test_the_page_lists_every_metric_and_every_rule():
    for family in families(FULL, TOTALS, EXPECTED, 0.03):
        assert f"| `{family.name}` |" in MONITORING, f"| `{family.name}` | {family.kind} | | {family.meaning} |"
    for name in rules.NAMES:
        assert f"| `{name}` |" in MONITORING


def test_commands_and_settings_shown_in_the_page_are_accepted():
    calls = re.findall(r"python main\.py ([^#\n]*)", MONITORING)
    assert len(calls) >= 5
    for call in calls:
        assert cli.build_parser().parse_args(shlex.split(call.partition("`")[0])) is not None
    named = dict(re.findall(r"^(COLLECTOR_ALERTS__TARGETS__\w+)=(\S+)", MONITORING, re.MULTILINE))
    settings, _ = load_settings(environment=named)
    assert len(build_targets(settings.alerts)) == len(named) == 7
    for url in re.findall(r"^COLLECTOR_ALERTS__PING__URL=(\S+)", MONITORING, re.MULTILINE):
        settings, _ = load_settings(environment={"COLLECTOR_ALERTS__PING__URL": url})
        assert settings.alerts.ping.url.get_secret_value() == url

"""Numbers that the documents quote from the benchmarks are those that were measured.

A quoted number is followed by a comment with the name of its figure, `1.14 <!-- bench: upsert.bare_new -->`: the name
as in benchmarks/README.md. The number is the last one before the comment on its line; it must be the median, rounded
to as many decimals as the text gives (and to as many leading digits, where the text ends in zeros).

What is judged in docs/performance.md agrees in its target and its verdict too: a table with the column "Reach" holds
what was reached with its limits; a heading that tells an aim holds what was missed; whatever was missed is told there.
Tables hold no measured figure without its comment.
"""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results
from benchmarks.harness import Disagreement, Outcome, Part, Reach, Spread, all_equal
from benchmarks.results import value_of

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results.json"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
MARKER = re.compile(r"<!-- bench: ([^\s>]+(?: [^\s>]+)*) -->")
NUMBER = re.compile(r"\d{1,3}(?:[ \u00a0]\d{3})+(?![\d.])|\d+(?:\.\d+)?")


def quoted(text: str) -> list[tuple[str, str]]:
    """Return (name, number as written) of every marker of a text; a marker without a number before it has ""."""
    found = []
    for line in text.splitlines():
        start = 0
        for marker in MARKER.finditer(line):
            numbers = NUMBER.findall(line[start : marker.start()])
            found.append((marker[1], numbers[-1].replace("\u00a0", " ") if numbers else ""))
            start = marker.end()
    return found


def agrees(written: str, measured: float) -> bool:
    """Tell whether a number as written is the measured one, rounded as the text rounds it."""
    plain = Decimal(written.replace(" ", ""))
    exact = Decimal(repr(measured))
    if plain == plain.to_integral_value() and "." not in written and plain != 0:
        zeros = len(written) - len(written.rstrip("0 "))
        zeros -= written[len(written.rstrip("0 ")) :].count(" ")
        return plain == exact.quantize(Decimal(1).scaleb(zeros)) or plain == exact.quantize(Decimal(1))
    return plain == exact.quantize(plain)


def stored() -> dict[str, Any]:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_quoted_figure_is_the_measured_one(path: Path):
    found = stored()
    for name, written in quoted(path.read_text(encoding="utf-8")):
        measured = value_of(found, name)
        assert measured is not None, f"{path.name} quotes {name}, which benchmarks/results.json does not hold"
        assert written, f"{path.name}: there is no number before the marker {name}"
        assert agrees(written, measured), f"{path.name} says {written} for {name}, measured was {measured}"


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables(text: str) -> list[list[dict[str, str]]]:
    """Return the tables of a page, each as rows by the names of their columns."""
    found: list[list[dict[str, str]]] = []
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            block.append(line)
        elif block:
            heads = cells_of(block[0])
            found.append([dict(zip(heads, cells_of(row), strict=True)) for row in block[2:]])
            block = []
    return found


NAMED = "\x00"  # stands for a marker, whose name may have numbers of its own


def bare_numbers(cell: str) -> list[str]:
    """Return the numbers of a cell that have no marker, masked by NAMED, behind them."""
    return [number[0] for number in NUMBER.finditer(cell) if not cell[number.end() :].lstrip().startswith(NAMED)]


MEASURED = re.compile(rf"(?:{NUMBER.pattern})\s*(?:times|ms|s|MB)\b")
TARGETS = ("Reach", "Limit")
AIM = re.compile(r"[,;] ([^,;]*) (?:was the aim|were the aims)")


def loose_figures(text: str) -> list[str]:
    """Return what the tables of a page give as measured without a marker."""
    found = []
    for row in (row for table in tables(text) for row in table):
        for head, text_of in row.items():
            cell = MARKER.sub(NAMED, text_of)
            found += [f"{text_of!r}: {number}" for number in bare_numbers(cell) if head == "Measured"]
            found += [f"{text_of!r}: {figure[0]}" for figure in MEASURED.finditer(cell) if head not in TARGETS]
    return found


def judged(text: str) -> list[tuple[list[str], str, bool]]:
    """Return (names quoted, text of the limits, whether they count as reached) of tables and headings of a page."""
    found = [
        ([name for name, _ in quoted(row["Measured"])], row["Reach"], row.get("Verdict", "reached") == "reached")
        for table in tables(text)
        for row in table
        if "Reach" in row
    ]
    for line in text.splitlines():
        aim = AIM.search(MARKER.sub("", line)) if line.startswith("#") else None
        if aim is not None:
            found.append(([name for name, _ in quoted(line)], aim[1], False))
    return found


def wrongly_judged(text: str, found: dict[str, Any]) -> list[str]:
    """Return where a page gives another limit or verdict than the results."""
    wrong = []
    for names, limits, met in judged(text):
        told = [float(number.replace(" ", "").replace("\u00a0", "")) for number in NUMBER.findall(limits)]
        told = told * len(names) if len(told) == 1 else told
        reaches = [reach_of(found, name) for name in names]
        if not names or None in reaches or len(told) != len(names):
            wrong.append(f"{names}: a limit for each of them, and results that judge them, are needed; {limits!r}")
            continue
        for name, limit, reach in zip(names, told, reaches, strict=True):
            assert reach is not None
            if (limit, met) != (reach["limit"], reach["met"]):
                verdict = "reached" if reach["met"] else "missed"
                wrong.append(f"{name}: limit {reach['limit']:g} and {verdict}, not {limit:g} and {met=}")
    return wrong


def reach_of(found: dict[str, Any], name: str) -> dict[str, Any] | None:
    row, _, key = name.partition(".")
    return found.get(row, {}).get("reaches", {}).get(key)


PERFORMANCE = ROOT / "docs" / "performance.md"


def test_the_page_of_results_is_the_one_that_their_file_gives():
    written = RESULTS.with_name("RESULTS.md").read_bytes()
    assert written == results.markdown(stored()).encode(), "write it again: results.store({}) of benchmarks.results"


def test_limits_and_verdicts_of_the_document_are_those_of_the_results():
    text = PERFORMANCE.read_text(encoding="utf-8")
    assert judged(text)
    assert wrongly_judged(text, stored()) == []


def test_whatever_was_missed_is_told():
    told = {name for name, _ in quoted(PERFORMANCE.read_text(encoding="utf-8"))}
    found = stored()
    missed = {f"{row}.{key}" for row in found for key, reach in found[row]["reaches"].items() if not reach["met"]}
    assert sorted(missed - told) == []


def test_every_measured_figure_in_a_table_names_its_result():
    assert loose_figures(PERFORMANCE.read_text(encoding="utf-8")) == []


def test_the_readme_of_the_benchmarks_has_no_measured_figure_in_its_tables():
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    heads = {head for table in tables(text) for row in table for head in row}
    assert not [head for head in heads if "Measured" in head or "Minutes" in head]
    assert loose_figures(text) == []


PAGE = """
| Work | Measured | Reach |
| --- | --- | --- |
| A million candles in 20 batches | 1.19 <!-- bench: upsert.ratio --> times | 1.4 |

### Books: 1.5 <!-- bench: books.ratio --> times, 1.4 was the aim
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [(" <!-- bench: upsert.ratio -->", ""), ("1.19 <", "1.19 and 2 <"), ("in 20 batches", "in 20 ms")],
)
def test_a_figure_in_a_table_without_its_name_is_found(old: str, new: str):
    assert loose_figures(PAGE) == []
    assert loose_figures(PAGE.replace("upsert.ratio", "growth.cycle_5000.10 s.wall_s")) == []
    assert loose_figures(PAGE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"), [("| 1.4 |", "| 1.5 |"), ("1.4 was", "1.2 was"), ("books.ratio", "upsert.ratio"), ("1.4 |", " |")]
)
def test_another_limit_or_verdict_is_found(old: str, new: str):
    found = {"upsert": part_of(1.2), "books": part_of(1.5)}
    assert wrongly_judged(PAGE, found) == []
    assert wrongly_judged(PAGE.replace(old, new), found)


def test_a_marker_takes_the_last_number_before_it():
    text = "| 250 coins 12.4 <!-- bench: cycle.bound --> s, 118 685 rows/s <!-- bench: upsert.new.ours.rows_per_s --> |"
    assert quoted(text) == [("cycle.bound", "12.4"), ("upsert.new.ours.rows_per_s", "118 685")]


def test_a_marker_without_a_number_is_found():
    assert quoted("fast <!-- bench: start.help -->") == [("start.help", "")]


@pytest.mark.parametrize(
    ("written", "measured", "same"),
    [
        ("1.14", 1.1382, True),
        ("1.14", 1.1461, False),
        ("118 685", 118_685.4, True),
        ("119 000", 118_685.4, True),
        ("118 000", 118_685.4, False),
        ("0", 0.0, True),
        ("0", 0.7, False),
        ("250", 249.6, True),
        ("12.0", 12.04, True),
        ("12.0", 12.06, False),
    ],
)
def test_a_number_may_be_rounded_but_not_changed(written: str, measured: float, same: bool):
    assert agrees(written, measured) is same


def test_names_lead_to_figures_reaches_and_what_was_before():
    figures = {"new": {"figures": {"bare COPY": {"wall_s": {"median": 2.5}}}}}
    part = {"parts": figures, "reaches": {"ratio": {"value": {"median": 1.2}}}}
    found = {"upsert": {**part, "before": {"reaches": {"ratio": {"value": {"median": 1.9}}}}}}
    assert value_of(found, "upsert.ratio") == 1.2
    assert value_of(found, "upsert.before.ratio") == 1.9
    assert value_of(found, "upsert.new.bare COPY.wall_s") == 2.5
    assert value_of(found, "upsert.new.ours.wall_s") is None
    assert value_of(found, "nothing.at.all") is None


def outcome(seconds: float) -> Outcome:
    """Return what a benchmark with two sides and three rounds found; ours took `seconds` in the second round."""
    ours, bare = Spread((1.0, seconds, 3.0)), Spread((2.0, 1.0, 2.0))
    part = Part(key="new", text="new rows", figures={"ours": {"wall_s": ours}, "bare": {"wall_s": bare}})
    reach = Reach(key="ratio", text="ours / bare", value=part.ratio("ours", "bare"), limit=1.4)
    return Outcome(title="Upsert", work="rows", parts=[part], reaches=[reach], configurations={"ours": "as shipped"})


def part_of(seconds: float) -> dict[str, Any]:
    found = outcome(seconds)
    return {
        "title": found.title,
        "work": found.work,
        "method": "",
        "command": "python -m benchmarks upsert",
        "measured_at": "2026-01-31T12:00+00:00",
        "load_before": 0.0,
        "machine": {"processor": "p", "cores": 2, "memory_gb": 4, "system": "Linux", "python": "3.11"},
        "versions": {"ours": {"numpy": "2"}},
        "notes": [],
        **results.figures_of(found),
    }


def test_a_ratio_is_taken_within_each_round_before_its_median():
    (reach,) = outcome(1.2).reaches
    assert reach.value.rounds == (0.5, 1.2, 1.5)
    assert (reach.value.median, reach.value.low, reach.value.high) == (1.2, 0.5, 1.5)  # of the medians it were 1.2 / 2
    assert reach.met
    assert not outcome(1.41).reaches[0].met


def test_sides_with_different_answers_are_not_compared():
    all_equal("new", {"ours": {"rows": 7}, "bare": {"rows": 7}})
    with pytest.raises(Disagreement, match="ours answered"):
        all_equal("new", {"ours": {"rows": 7}, "bare": {"rows": 8}})


def test_results_measured_again_replace_their_own_part_only_and_keep_what_was_before_when_asked(tmp_path: Path):
    results.store({"upsert": part_of(1.5), "books": part_of(1.1)}, tmp_path)
    results.store({"upsert": part_of(1.2)}, tmp_path, keep=True)
    results.store({"upsert": part_of(1.3)}, tmp_path)
    found = results.load(tmp_path)
    assert value_of(found, "books.ratio") == 1.1
    assert value_of(found, "upsert.ratio") == 1.3
    assert value_of(found, "upsert.before.ratio") == 1.5
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "| upsert | ours / bare | 1.3 x (0.5 to 1.5) | 1.5 x (0.5 to 1.5) | <= 1.4 x | reached |" in page


def test_the_first_results_that_were_kept_stay_with_their_commit_and_versions(tmp_path: Path):
    first = part_of(1.5)
    first["versions"] = {"ours": {"commit": "abc1234", "numpy": "1"}, "peers": {"ccxt": "4"}}
    results.store({"upsert": first}, tmp_path)
    results.store({"upsert": part_of(1.3)}, tmp_path, keep=True)
    results.store({"upsert": part_of(1.2)}, tmp_path, keep=True)
    found = results.load(tmp_path)
    assert (value_of(found, "upsert.ratio"), value_of(found, "upsert.before.ratio")) == (1.2, 1.5)
    assert "before" not in found["upsert"]["before"]
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "Before, 2026-01-31T12:00+00:00, commit abc1234:" in page
    assert "- Versions before, ours: commit abc1234, numpy 1" in page
    assert "- Versions before, peers: ccxt 4" in page


def test_a_missed_reach_is_said_so(tmp_path: Path):
    results.store({"upsert": part_of(1.5)}, tmp_path)
    assert "**MISSED**" in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")

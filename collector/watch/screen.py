"""Draws a picture for a terminal of any size: the most important first, nothing wider than the line, no control bytes.

Every section gets its least number of lines by importance, then what is left is dealt out; a section's title says how
much is not shown. Colours are only an addition: every state is also a word.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from rich.text import Text

from collector.printing import span
from collector.records import CycleState
from collector.watch.picture import Budget, Freshness, Picture, SourceProgress
from collector.watch.words import ago, harmless, size, window

TWO_COLUMNS = 150  # from this width on
BAR = 16
ALERTS = 5  # shown at most: the rest of the screen says what they are about
BAD, ODD, GOOD, DIM, HEAD = "bold red", "yellow", "green", "dim", "bold cyan"
STATES = {
    CycleState.RUNNING: "cyan",
    CycleState.OK: GOOD,
    CycleState.PARTIAL: ODD,
    CycleState.FAILED: BAD,
    CycleState.ABANDONED: BAD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the screen: its title, and lines of which the first ones matter most."""

    title: str
    lines: Sequence[Text]
    least: int  # lines it should have even on a small screen


def draw(picture: Picture, width: int, height: int, *, keys: bool = True, unicode: bool = True) -> list[Text]:
    """Return at most `height` lines, none wider than `width` cells.

    `keys`: say how to leave. `unicode`: the terminal can show more than ASCII.
    """
    head = [*_head(picture, keys=keys), *_alerts(picture)]
    room = max(0, height - len(head))
    main = [_cycle(picture, unicode=unicode), _failures(picture), _recent(picture)]
    side = [_freshness(picture), _budgets(picture, unicode=unicode), _disk(picture)]
    if width >= TWO_COLUMNS:
        half = (width - 2) // 2
        left, right = _stacked(main, room), _stacked(side, room)
        body = [_beside(a, b, half) for a, b in zip_longest(left, right, fillvalue=Text())]
    else:
        body = _stacked([main[0], side[0], side[1], main[1], main[2], side[2]], room)
    return [_fitted(line, width, unicode=unicode) for line in [*head, *body][:height]]


def _stacked(sections: Sequence[Section], room: int) -> list[Text]:
    """Return the lines of sections, the most important first, in `room` lines together."""
    shown, left = [0] * len(sections), room
    for index, section in enumerate(sections):
        wanted = min(section.least, len(section.lines)) + 1
        if wanted <= left:
            shown[index], left = wanted, left - wanted
    growing = True
    while left and growing:
        growing = False
        for index, section in enumerate(sections):
            if left and 0 < shown[index] <= len(section.lines):
                shown[index], left, growing = shown[index] + 1, left - 1, True
    lines: list[Text] = []
    for section, count in zip(sections, shown, strict=True):
        if count:
            hidden = len(section.lines) - (count - 1)
            title = f"{section.title} ({hidden} more)" if hidden else section.title
            lines += [Text(title, style=HEAD), *section.lines[: count - 1]]
    return lines


def _beside(left: Text, right: Text, half: int) -> Text:
    line = left.copy()
    line.truncate(half, overflow="crop", pad=True)
    return line.append("  ").append_text(right)


def _fitted(line: Text, width: int, *, unicode: bool) -> Text:
    fitted = Text.assemble(*((segment, style) for segment, style in _pieces(line, unicode=unicode)))
    fitted.truncate(width, overflow="crop")
    fitted.no_wrap = True
    return fitted


def _pieces(line: Text, *, unicode: bool) -> list[tuple[str, str]]:
    """Return the text of a line in pieces of one style each; what the terminal cannot show becomes `?`."""
    text = line.plain if unicode else line.plain.encode("ascii", "replace").decode("ascii")
    edges = sorted({0, len(text), *(at for part in line.spans for at in (part.start, part.end))})
    pieces = []
    for start, end in pairwise(edges):
        styles = [str(part.style) for part in line.spans if part.start <= start and part.end >= end]
        pieces.append((text[start:end], " ".join([str(line.style), *styles]).strip()))
    return pieces


# --------------------------------------------------------------------------- sections


def _head(picture: Picture, *, keys: bool) -> list[Text]:
    line = Text()
    if picture.simulated:
        line.append("SIMULATED ", style=ODD)
    line.append("Crypto Data Collector", style="bold")
    line.append(f"  {picture.at:%H:%M:%S} UTC  ")
    if picture.away:
        line.append("database away", style=BAD)
    elif picture.collecting:
        line.append("collecting", style=GOOD)
    else:
        line.append("no collector is running", style=ODD)
    if keys:
        line.append("  q: quit", style=DIM)
    lines = [line]
    if picture.away:
        seen = "" if picture.seen_at is None else f"seen {ago(picture.seen_at, picture.at)} ago; "
        lines.append(Text(f"{seen}{harmless(picture.away)}", style=BAD))
    return lines


def _alerts(picture: Picture) -> list[Text]:
    return [
        Text(
            f"{item.severity.upper()} {harmless(item.rule)} {harmless(item.subject)} "
            f"for {ago(item.since, picture.at)}: {harmless(item.detail)}",
            style=BAD if item.severity == "critical" else ODD,
        )
        for item in picture.alerts[:ALERTS]
    ]


def _cycle(picture: Picture, *, unicode: bool) -> Section:
    running = picture.running
    if running is None:
        last = picture.cycles[0] if picture.cycles else None
        ended = last.finished_at if last else None
        said = "none yet" if last is None else f"none runs; the last ended {ago(ended, picture.at)} ago"
        return Section(title=f"cycle: {said}", lines=[], least=0)
    stage = f", stage {picture.stage}" if picture.stage else ""
    title = f"cycle {running.cycle_id} {running.cadence}, running for {ago(running.started_at, picture.at)}{stage}"
    lines = [_progress(item, unicode=unicode) for item in picture.progress]
    return Section(title=title, lines=lines, least=7)


def _progress(item: SourceProgress, *, unicode: bool) -> Text:
    """One source: jobs done of those that the last cycle of this cadence had, then rows and what went wrong."""
    share = 0.0 if not item.expected else min(1.0, item.done / item.expected)
    whole = "?" if item.expected is None else f"~{item.expected}"
    line = Text(f"  {item.source:<16} ")
    line.append_text(_bar(share, "cyan", unicode=unicode))
    line.append(f" {item.done}/{whole} jobs".ljust(17) + f"{item.rows:>10,} rows")
    _count(line, item.failed, "failed", BAD)
    _count(line, item.skipped, "skipped", ODD)
    _count(line, item.rejects, "refused", ODD)
    return line


def _count(line: Text, count: int, word: str, style: str) -> None:
    if count:
        line.append(f"  {count:,} {word}", style=style)


def _bar(share: float, style: str, *, unicode: bool) -> Text:
    full = min(BAR, int(share * BAR))
    bar = Text("━" * full if unicode else "#" * full, style=style)
    return bar.append(("─" if unicode else ".") * (BAR - full), style=DIM)


def _budgets(picture: Picture, *, unicode: bool) -> Section:
    lines = [
        Text.assemble(
            f"  {item.source:<16} ",
            (item.kind, BAD),
            f" for {span(item.until - picture.at)} more: {harmless(item.reason)}",
        )
        for item in picture.pauses
        if item.until > picture.at
    ]
    waiting = len(lines)
    lines += [_budget(item, unicode=unicode) for item in picture.budgets]
    return Section(title="limits in use", lines=lines, least=max(3, min(5, waiting + 1)))


def _budget(item: Budget, *, unicode: bool) -> Text:
    style = BAD if item.share >= 0.95 else ODD if item.share >= 0.8 else GOOD  # noqa: PLR2004 - reserve_pct is 5
    line = Text(f"  {item.source:<16} ")
    line.append_text(_bar(item.share, style, unicode=unicode))
    account = " by the API" if item.account.endswith(" api") else ""
    line.append(f" {item.used:,}/{item.capacity:,} {harmless(item.scope)} in {window(item.window_s)}{account}")
    return line


def _freshness(picture: Picture) -> Section:
    stale = sum(item.stale for item in picture.freshness)
    waiting = sum(item.last_ok_at is None and not item.stale for item in picture.freshness)
    told = [f"{count} {word}" for count, word in ((stale, "stale"), (waiting, "not fetched yet")) if count]
    said = ", ".join(told) or ("all fresh" if picture.freshness else "nothing is collected")
    lines = [_fresh(item, picture) for item in picture.freshness]
    return Section(title=f"datasets: {said} of {len(lines)}", lines=lines, least=3)


def _fresh(item: Freshness, picture: Picture) -> Text:
    line = Text(f"  {item.source:<16} {item.dataset:<18} ")
    state = "stale" if item.stale else "fresh" if item.last_ok_at else "due"
    line.append(f"{state:<5}", style=BAD if item.stale else GOOD if item.last_ok_at else DIM)
    age = "never fetched" if item.last_ok_at is None else f"fetched {ago(item.last_ok_at, picture.at)} ago"
    return line.append(f"  {age}, every {window(round(item.every_s))}")


def _failures(picture: Picture) -> Section:
    lines = []
    for item in picture.failures:
        line = Text(f"  {'-' if item.at is None else f'{item.at:%H:%M:%S}'} {item.source} {item.dataset} ", style="")
        line.append(f"{harmless(item.subject)}: ", style=DIM)
        lines.append(line.append(harmless(item.error), style=ODD))
    return Section(title="last failures" if lines else "last failures: none", lines=lines, least=2)


def _recent(picture: Picture) -> Section:
    lines = []
    for item in picture.cycles:
        line = Text(f"  {item.cycle_id:>6} {item.cadence:<10} {item.started_at:%m-%d %H:%M:%S}  ")
        line.append(f"{item.state.value:<9}", style=STATES[item.state])
        took = "" if item.finished_at is None else f"{(item.finished_at - item.started_at).total_seconds():.1f} s"
        line.append(f" {took:>8} {item.rows:>10,} rows")
        _count(line, item.jobs_failed, "failed", BAD)
        _count(line, item.jobs_skipped, "skipped", ODD)
        lines.append(line)
    return Section(title="cycles", lines=lines, least=2)


def _disk(picture: Picture) -> Section:
    disk = picture.disk
    line = Text(f"  database {size(disk.database_bytes)}, free {size(disk.free_bytes)} of {size(disk.total_bytes)}")
    if disk.spool_bytes:
        line.append(f", waiting in the spool {size(disk.spool_bytes)}", style=ODD)
    return Section(title="disk", lines=[line], least=1)

"""The proof as a table for people, with what is refused and what would fit."""

from datetime import timedelta

from collector.plan.proof import Proof
from collector.plan.schedule import Line, quantity, span
from collector.printing import table

HEAD = (
    "source",
    "plan",
    "limit",
    "allowed",
    "cadence",
    "heaviest cycle",
    "waits",
    "31 days",
    "usable",
    "share",
    "fits",
)


def render_proof(proof: Proof) -> str:
    """Return a row per provider, limit and cadence, then the verdict: each refusal on a line, what fits all last."""
    rows = [row for line in proof.lines for row in _rows(line)]
    verdict = ["the schedule fits every limit" if proof.fits else "the schedule does not fit:"]
    verdict += [f"  {violation.text}" for violation in proof.violations]
    verdict += [f"  for all providers: {proof.nearest} fits"] if proof.nearest else []
    return "\n".join(["schedule against limits:", *table(HEAD, rows), "", *verdict])


def _rows(line: Line) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for cadence, weight in line.cycles.items():
        first = not rows
        waits = line.times[cadence]
        rows.append(
            (
                line.source if first else "",
                line.plan if first else "",
                f"{quantity(line.capacity)} {line.scope} / {span(line.window)}" if first else "",
                quantity(line.allowed) if first else "",
                cadence,
                quantity(weight),
                span(waits) if waits > timedelta(0) else "-",
                quantity(line.planned) if first else "",
                quantity(line.usable) if first else "",
                f"{line.share:.1%}".replace("%", " %") if first else "",
                ("yes" if line.fits else "NO") if first else "",
            )
        )
    return rows

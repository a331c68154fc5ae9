"""Metrics as the text that Prometheus reads (format 0.0.4)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[Mapping[str, str], float]
"""Labels and value"""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all of its samples; kind is gauge or counter."""

    name: str
    kind: str
    meaning: str
    samples: Sequence[Sample]


def text_of(families: Iterable[Family]) -> str:
    """Return families as text; those without a sample are left out."""
    lines = [line for family in families if family.samples for line in lines_of(family)]
    return "\n".join(lines) + "\n" if lines else ""


def lines_of(family: Family) -> list[str]:
    """Return the lines of one family."""
    return [
        *head(family.name, family.meaning, family.kind),
        *(sample(family.name, labels, value) for labels, value in family.samples),
    ]


def head(name: str, meaning: str, kind: str) -> list[str]:
    """Return the lines before the samples of a metric."""
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]


def sample(name: str, labels: Mapping[str, str], value: float) -> str:
    """Return the line of one sample."""
    told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{told}}} {value}" if told else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

"""What the API counts about itself, as text that Prometheus reads; cheap enough for every request."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from collector.errors import CollectorError

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
_METHODS = {"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"}

Samples = Iterable[tuple[Mapping[str, str], float]]  # labels and value


@dataclass(frozen=True, slots=True)
class _Family:
    """One metric whose values are asked for when they are read."""

    name: str
    meaning: str
    kind: str
    read: Callable[[], Samples]


class Metrics:
    """Counts requests, and asks others for their numbers when somebody reads. Counting belongs to the event loop."""

    def __init__(self) -> None:
        self._requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._buckets: dict[str, list[int]] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._families: list[_Family] = []
        self._failures = 0

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request; `route` is the template of its path, so that there are few."""
        self._requests[route, method if method in _METHODS else "other", status] += 1
        if route not in self._buckets:
            self._buckets[route] = [0] * (len(BUCKETS) + 1)
        self._buckets[route][bisect_left(BUCKETS, seconds)] += 1
        self._seconds[route] += seconds

    def register(self, name: str, meaning: str, read: Callable[[], Samples], *, kind: str = "gauge") -> None:
        """Add a metric: `read` gives labels and values each time somebody asks; kind is gauge or counter.

        When it raises an error of ours (the database is away), its values are left out of that answer.
        """
        self._families.append(_Family(name, meaning, kind, read))

    def text(self) -> str:
        """Return everything in the text format of Prometheus."""
        lines = [*self._request_lines(), *self._latency_lines()]
        for family in self._families:
            try:
                samples = [(dict(labels), value) for labels, value in family.read()]
            except CollectorError:
                self._failures += 1
                continue
            lines += _head(family.name, family.meaning, family.kind)
            lines += [_sample(family.name, labels, value) for labels, value in samples]
        name = "collector_api_metric_failures_total"
        lines += [*_head(name, "Metrics that could not be read.", "counter"), _sample(name, {}, self._failures)]
        return "\n".join(lines) + "\n"

    def _request_lines(self) -> list[str]:
        name = "collector_api_requests_total"
        counted = sorted(self._requests.items())
        return _head(name, "Requests answered, by route, method and status.", "counter") + [
            _sample(name, {"route": route, "method": method, "status": str(status)}, count)
            for (route, method, status), count in counted
        ]

    def _latency_lines(self) -> list[str]:
        name = "collector_api_request_seconds"
        lines = _head(name, "Time from the first byte of a request to the last of its answer.", "histogram")
        for route, counts in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), list(counts), strict=True):
                total += count
                lines.append(_sample(f"{name}_bucket", {"route": route, "le": bound}, total))
            lines.append(_sample(f"{name}_sum", {"route": route}, round(self._seconds[route], 6)))
            lines.append(_sample(f"{name}_count", {"route": route}, total))
        return lines


def _head(name: str, meaning: str, kind: str) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{told}}} {value}" if told else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

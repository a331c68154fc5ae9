"""What a cycle's reads must have brought, whoever made them; only the standard library."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

BARS_ASKED = 10  # of each series, by those who hold none: enough that both sides hold some of the same minutes

Bar = tuple[str, str, int, float, float, float, float, float]  # venue, symbol, open time in s, prices, volume


def told(counts: Mapping[str, int], bars: Iterable[Bar], facts: Mapping[str, float]) -> dict[str, Any]:
    """Return the answer of a side: how many of each were read, and a digest of all closed bars of each minute."""
    by_minute: dict[int, list[str]] = defaultdict(list)
    for venue, symbol, opened, *numbers in bars:
        by_minute[opened].append(f"{venue} {symbol} {' '.join(map(repr, numbers))}")
    digests = {
        str(minute): f"{len(lines)} {hashlib.sha256(chr(10).join(sorted(lines)).encode()).hexdigest()[:16]}"
        for minute, lines in sorted(by_minute.items())[-2 * BARS_ASKED :]
    }
    return {"same": {"counts": dict(counts), "minutes": digests}, "facts": dict(facts)}


def agree(phase: str, answers: Mapping[str, Any]) -> None:
    """Raise ValueError unless all sides read as many of everything, and have the same bars of a minute all have."""
    (first, wanted), *others = answers.items()
    for name, found in others:
        if found["counts"] != wanted["counts"]:
            raise ValueError(f"{phase}: {first} read {wanted['counts']}, {name} {found['counts']}")
        common = sorted(set(wanted["minutes"]) & set(found["minutes"]))
        # At the ends of what was read some series have a bar more or less; in between all have all.
        whole = [minute for minute in common if wanted["minutes"][minute] == found["minutes"][minute]]
        most = max((int(found["minutes"][minute].split()[0]) for minute in common), default=0)
        if not any(int(found["minutes"][minute].split()[0]) == most for minute in whole):
            raise ValueError(f"{phase}: no minute of which {first} and {name} have the same bars: {wanted}, {found}")

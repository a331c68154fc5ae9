"""Answers that were damaged on their way: one or a few changes to what an answer says, or to its bytes, by a seed."""

import json
import random
import re
from typing import Any

ODD_VALUES = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**63,
    -(2**63) - 1,
    10**30,
    1e-30,
    0.1,
    -5.5,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    " ",
    "0",
    "-0",
    "0.0",
    "-1",
    "NaN",
    "nan",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "1e-400",
    "1_000",
    " 12 ",
    "１２",
    "0x10",
    "+1",
    "1,5",
    "None",
    "null",
    "2026-02-30T25:61:61Z",
    "2026-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "1970-01-01",
    "\x00",
    "\ud800",
    "<script>",
    "A" * 10_000,
    "123456789012345678901234567890.123456789012345678901234567890",
    [],
    {},
    [[]],
    [None],
    {"": None},
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    253402300800000,
    -62135596800000,
    1_767_225_600,
    1_767_225_600_000,
    1_767_225_600_000_000,
)
_NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")


def mutated(body: bytes, chance: random.Random) -> bytes:
    """Return the body with one to three changes, to its values or to its bytes."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        body = _values(body, chance) if chance.random() < 0.65 else _bytes(body, chance)
    return body


def _values(body: bytes, chance: random.Random) -> bytes:
    """Change one place of the document; of a body that is none any more, its bytes."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return _bytes(body, chance)
    place = document
    while isinstance(place, dict | list) and place:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if isinstance(place[key], dict | list) and place[key] and chance.random() < 0.85:
            place = place[key]
            continue
        _change(place, key, chance)
        break
    else:
        document = chance.choice(ODD_VALUES)
    return json.dumps(document).encode()


def _change(place: Any, key: Any, chance: random.Random) -> None:
    action = chance.randrange(6)
    if action == 0:
        del place[key]
    elif action == 1 and isinstance(place, list):
        place.insert(chance.randrange(len(place) + 1), place[key])
    elif action == 2 and isinstance(place, list):
        chance.shuffle(place)
    elif action == 3:
        other = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        place[key], place[other] = place[other], place[key]
    elif action == 4 and isinstance(place[key], str | int | float):
        place[key] = str(place[key]) if not isinstance(place[key], str) else [place[key]]
    else:
        place[key] = chance.choice(ODD_VALUES)


def _bytes(body: bytes, chance: random.Random) -> bytes:
    if not body:
        return bytes([chance.randrange(256)])
    at = chance.randrange(len(body))
    head, tail = body[:at], body[at:]
    noise = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 5)))
    flipped = bytes([body[at] ^ (1 << chance.randrange(8))])
    changes = (
        head + flipped + tail[1:],
        head + tail[chance.randrange(1, 20) :],
        head + noise + tail,
        head,
        head + head[-30:] + tail,
        _digits(body, chance),
    )
    return chance.choice(changes)


def _digits(body: bytes, chance: random.Random) -> bytes:
    """Put something else for one number."""
    numbers = list(_NUMBER.finditer(body))
    if not numbers:
        return body[::-1]
    found = chance.choice(numbers)
    digits = chance.choice((b"-" + found[0], found[0] + b"e9", found[0] * 3, b"0", b"-0.0", b"NaN", b"1e400", b""))
    return body[: found.start()] + digits + body[found.end() :]

"""Whatever becomes of an OKX answer on its way, a parser gives records, rejects or PayloadError."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.errors import PayloadError
from collector.records import Record, Reject
from collector.sources.okx import OkxCollector
from tests.sources.okx.samples import PAYLOADS, parse_body

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["", "0", "-1e99"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def mutate(document: Any, data: st.DataObject) -> Any:
    """Replace, drop or double one value somewhere in the document."""
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return document
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.integers(0, 9)) < 9:
            place = place[key]
            continue
        action = data.draw(st.sampled_from(["replace", "drop"]))
        if action == "drop":
            del place[key]
        else:
            place[key] = data.draw(JSON_VALUES)
        return document


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_parser_fails_on_a_mutated_payload_with_anything_but_payload_error(data: st.DataObject) -> None:
    dataset = data.draw(st.sampled_from(list(OkxCollector.parsers)))
    situation = data.draw(st.sampled_from(["normal", "zero"]))
    document = json.loads((PAYLOADS / f"{dataset}__{situation}.json").read_text())
    body = json.dumps(mutate(document, data)).encode()
    if data.draw(st.booleans()):
        body = body[: data.draw(st.integers(0, len(body)))]
    try:
        items = parse_body(dataset, body)
    except PayloadError:
        return
    assert all(isinstance(item, Record | Reject) for item in items)

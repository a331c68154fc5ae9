"""Each fault at each provider: the others lose nothing, nothing invalid is stored, every call ends in time."""

import pytest

from collector.records import CycleState
from collector.simulator.faults import KINDS
from collector.sources import SOURCES
from tests.faults.providers import GRACE_S, QUICK, Theatre, full_listener

HARMLESS = {"wrong_content_type"}  # the answer is good, only its label is not
RECOVERED = {"duplicate_rows", "shuffled_rows", "missing_rows"}  # rows are lost at most, and known as missing
BANS = {"banned_for_seconds", "banned"}
REFUSALS = {kind for kind in KINDS if kind.startswith("refused")}
DENIED = {"forbidden", "geo_blocked"}

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def theatre(cluster, tmp_path_factory):
    stage = Theatre(cluster, tmp_path_factory.mktemp("faults"))
    yield stage
    stage.close()


def check(theatre, outcome, name):
    """Demand what holds whatever the fault is."""
    assert outcome.wrong == []
    assert [row for row in outcome.rejects if row not in theatre.clean.rejects and row[0] != name] == []
    for other in theatre.names:
        if other != name:
            part = outcome.part(other)
            assert (part.jobs_failed, part.jobs_skipped) == (0, 0), part.errors
            assert theatre.clean.rows.get(other, set()) <= outcome.rows.get(other, set()), other
    assert max(outcome.calls.took_s, default=0.0) < QUICK.total + GRACE_S
    assert outcome.calls.during_a_pause() == []
    assert outcome.report.state in (CycleState.OK, CycleState.PARTIAL)


def test_without_a_fault_every_source_delivers(theatre):
    assert theatre.clean.wrong == []
    assert theatre.clean.report.state is CycleState.OK
    assert {part.source for part in theatre.clean.report.sources if part.jobs_ok} == set(theatre.names)


def test_every_registered_source_has_a_simulated_provider(theatre):
    assert set(theatre.names) == set(SOURCES)


@pytest.mark.parametrize("name", sorted(SOURCES))
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_fault_at_one_provider_costs_the_others_nothing(theatre, kind, name):
    outcome = theatre.play(name, kind=kind)
    check(theatre, outcome, name)
    part = outcome.part(name)
    if kind in HARMLESS:
        assert outcome.report.state is CycleState.OK
        assert theatre.clean.rows.get(name, set()) <= outcome.rows.get(name, set())
    elif kind in BANS | DENIED:
        assert part.retries == 0
        assert part.jobs_ok == 0
        assert outcome.calls.pauses
    elif kind in REFUSALS:
        assert outcome.calls.pauses
        assert part.jobs_ok == 0


@pytest.mark.parametrize("name", sorted(SOURCES))
@pytest.mark.parametrize("place", ["refused", "no connection", "no such name", "no tls"])
def test_a_provider_that_cannot_be_connected_to_costs_the_others_nothing(theatre, place, name):
    with full_listener() as full:
        root = {
            "refused": "http://127.0.0.1:1",
            "no connection": f"http://{full}",
            "no such name": "http://provider.invalid",
            "no tls": f"https://127.0.0.1:{theatre.simulator.port}",
        }[place]
        outcome = theatre.play(name, base_url=root)
    check(theatre, outcome, name)
    part = outcome.part(name)
    assert part.jobs_ok == 0
    assert part.jobs_failed + part.jobs_skipped > 0
    assert outcome.report.state is CycleState.PARTIAL

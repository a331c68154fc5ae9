"""Targets: what arrives, what is said when it does not, and that no address is ever shown."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from collector.alerts import targets
from collector.alerts.outbox import NOT_CONFIGURED, Outbox
from collector.alerts.targets import AppriseTarget, Bounded, FileTarget, Ping, build_targets, parts_of, result_of
from collector.clock import ManualClock
from collector.config import LogSettings, load_settings
from collector.config.alerts import AlertSettings, longest_gap
from collector.errors import ConfigError
from collector.log import set_up_logging, tear_down_logging
from collector.storage.alerts import Message
from tests.alerts.vitals_samples import DAY, HOUR, MINUTE, NOW

CANARY = "canary-9f3a7c"
MESSAGE = Message(
    message_id="m1", target="ops", kind="alerts", severity="critical", title="It burns", body="two\nlines", made_at=NOW
)


@pytest.fixture
def said(tmp_path):
    set_up_logging(LogSettings(directory=tmp_path / "logs"), console=None)
    yield (tmp_path / "logs" / "collector.log").read_text
    tear_down_logging()


def several(count, **changes):
    return [
        replace(MESSAGE, message_id=f"m{n}", made_at=NOW - n * MINUTE, title=f"T{n}", **changes) for n in range(count)
    ]


# --------------------------------------------------------------------------- files


def test_a_file_gets_a_line_of_json_for_each_message(tmp_path):
    target = FileTarget(tmp_path / "new folder" / "alerts.jsonl")
    assert [target.deliver(MESSAGE), target.deliver(replace(MESSAGE, message_id="m2"))] == ["", ""]
    first, second = map(json.loads, (tmp_path / "new folder" / "alerts.jsonl").read_text().splitlines())
    assert first == {
        "id": "m1",
        "at": "2026-03-11T14:37:42.000Z",
        "kind": "alerts",
        "severity": "critical",
        "title": "It burns",
        "body": "two\nlines",
    }
    assert second["id"] == "m2"


def test_a_line_that_a_kill_cut_off_spoils_no_other(tmp_path):
    file = tmp_path / "alerts.jsonl"
    file.write_text('{"id": "m0", "ti')
    assert FileTarget(file).deliver(MESSAGE) == ""
    assert json.loads(file.read_text().splitlines()[-1])["id"] == "m1"


def test_a_file_that_cannot_be_written_is_said_without_its_place(tmp_path):
    reason = FileTarget(tmp_path).deliver(MESSAGE)
    assert reason == "the file cannot be written: Is a directory"


def test_a_file_that_holds_something_else_is_not_taken_for_delivered(tmp_path):
    assert FileTarget(tmp_path / "full").deliver(MESSAGE) == ""
    assert FileTarget(Path("/dev/full")).deliver(MESSAGE).startswith("the file")


# --------------------------------------------------------------------------- Apprise


def test_a_web_service_gets_title_and_text(hook):
    assert AppriseTarget(f"json://{hook.place}/{CANARY}").deliver(MESSAGE) == ""
    assert [(item["title"], item["message"], item["type"]) for item in hook.got] == [
        ("It burns", "two\nlines", "failure")
    ]


@pytest.mark.parametrize("status", [403, 500, 302])
def test_a_service_that_refuses_is_told_without_any_part_of_its_address(hook, status, capfd):
    hook.status = status
    reason = AppriseTarget(f"json://user:{CANARY}@{hook.place}/{CANARY}/hook").deliver(MESSAGE)
    assert reason
    assert CANARY not in reason + "".join(capfd.readouterr())


def test_a_service_that_is_not_there_is_told_without_any_part_of_its_address(capfd):
    reason = AppriseTarget(f"json://user:{CANARY}@127.0.0.1:1/{CANARY}").deliver(MESSAGE)
    assert reason
    assert CANARY not in reason + "".join(capfd.readouterr())


@pytest.mark.parametrize(("status", "said"), [(503, "error=503"), (403, "error=403")])
def test_a_refusal_and_a_service_that_is_not_there_are_told_apart(hook, status, said, capfd):
    hook.status = status
    refused = AppriseTarget(f"json://user:{CANARY}@{hook.place}/{CANARY}").deliver(MESSAGE)
    away = AppriseTarget(f"json://user:{CANARY}@127.0.0.1:1/{CANARY}").deliver(MESSAGE)
    assert said in refused
    assert "onnection error" in away
    assert "127.0.0.1" not in away
    assert CANARY not in refused + away
    assert "".join(capfd.readouterr()) == ""


def test_every_part_of_an_address_is_a_secret_as_written_and_as_meant():
    parts = parts_of("mailtos://me%40home:pass%2Fword@mail.example.org?to=you")
    assert {"me%40home", "me@home"} & set(parts)
    assert {"pass%2Fword", "word", "mail.example.org"} <= set(parts)
    assert parts == sorted(parts, key=len, reverse=True)


# --------------------------------------------------------------------------- settings


def loaded(**environment):
    return load_settings(environment={f"COLLECTOR_ALERTS__{name}": value for name, value in environment.items()})[0]


def test_a_target_may_be_written_as_a_group_alone_or_as_the_only_one():
    assert loaded(TARGETS__OPS__URL="json://a.b/c").alerts.addresses() == {"ops": "json://a.b/c"}
    assert loaded(TARGETS__OPS="json://a.b/c").alerts.addresses() == {"ops": "json://a.b/c"}
    assert loaded(TARGETS="json://a.b/c").alerts.addresses() == {"default": "json://a.b/c"}
    assert loaded(TARGETS__OPS__URL="").alerts.addresses() == {}


@pytest.mark.parametrize(
    "names",
    [
        {"TARGETS__OPS__URL": CANARY},
        {"TARGETS__OPS": CANARY},
        {"TARGETS": CANARY},
        {"TARGETS__OPS": f"[json://{CANARY}]"},
        {"TARGETS": f"[json://{CANARY}]"},
        {"TARGETS__OPS-1": f"json://{CANARY}"},
        {"TARGETS__OPS__URI": f"json://{CANARY}"},
        {"PING__URL": CANARY},
        {"PING__URL": f"file://{CANARY}"},
    ],
    ids=str,
)
def test_a_mistake_in_an_address_is_told_without_it(names):
    with pytest.raises(ConfigError) as caught:
        loaded(**names)
    assert "alerts." in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("url", [f"nonsense://{CANARY}", f"file://host/{CANARY}", "file:///", f"tgram://{CANARY}"])
def test_an_address_that_nobody_understands_is_told_without_it(url):
    with pytest.raises(ConfigError) as caught:
        build_targets(AlertSettings(targets={"ops": {"url": url}}))
    assert "alerts.targets.ops.url" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_settings_do_not_show_addresses():
    settings = loaded(TARGETS__OPS__URL=f"json://{CANARY}", PING__URL=f"http://{CANARY}/x")
    assert CANARY not in repr(settings.alerts) + str(settings.model_dump()) + settings.model_dump_json()


@pytest.mark.parametrize(
    "wrong",
    [
        {"since": "22:00"},
        {"since": "22:00", "until": "22:00"},
        {"since": "24:00", "until": "7:00"},
        {"time_zone": "Mars/Olympus"},
        {"time_zone": "../etc/passwd"},
    ],
    ids=str,
)
def test_quiet_hours_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"alerts\.quiet"):
        loaded(**{f"QUIET__{name.upper()}": value for name, value in wrong.items()})


def test_the_longest_gap_of_a_cron_line_is_its_weekend():
    assert longest_gap("0 9-17 * * mon-fri") == timedelta(hours=64)
    assert longest_gap("*/5 * * * *") == 5 * MINUTE
    assert longest_gap("20 0 * * *") == DAY


# --------------------------------------------------------------------------- the outbox


class Desk:
    """A target that takes what it gets, or says why not."""

    def __init__(self, reason=""):
        self.reason, self.got = reason, []

    def deliver(self, message):
        if not self.reason:
            self.got.append(message)
        return self.reason


def outbox(**desks):
    return Outbox(desks, ManualClock(NOW), MINUTE)


def test_what_was_taken_is_delivered_and_never_sent_again():
    desk = Desk()
    box = outbox(ops=desk)
    (sent,) = box.send([MESSAGE], NOW)
    assert (sent.state, sent.delivered_at, sent.attempts, sent.error) == ("delivered", NOW, 1, "")
    assert box.send([sent], NOW + DAY) == []
    assert len(desk.got) == 1


def test_a_target_that_is_down_is_tried_later_and_later_and_then_gets_all(said):
    desk = Desk("connection refused")
    box, message, at, waits = outbox(ops=desk), MESSAGE, NOW, []
    for _ in range(7):
        (message,) = box.send([message], at)
        assert box.send([message], message.next_try_at - timedelta(seconds=1)) == []
        waits.append(int((message.next_try_at - at) / MINUTE))
        at = message.next_try_at
    assert waits == [1, 2, 4, 8, 15, 15, 15]
    desk.reason = ""
    (message,) = box.send([message], at)
    assert (message.state, message.attempts) == ("delivered", 8)
    assert [line.split()[3] for line in said().splitlines()] == ["alert_not_delivered", "alert_target_is_back"]


def test_one_target_that_is_down_does_not_keep_the_others_waiting():
    down, well = Desk("no"), Desk()
    box = outbox(ops=down, home=well)
    sent = box.send([MESSAGE, replace(MESSAGE, message_id="m2", target="home")], NOW)
    assert {item.target: item.state for item in sent} == {"ops": "waiting", "home": "delivered"}


def test_many_that_waited_go_as_one_message_with_the_worst_severity():
    desk = Desk()
    messages = several(40, severity="warning", attempts=3, body="x" * 500)
    sent = outbox(ops=desk).send([*messages[:-1], replace(messages[-1], severity="critical")], NOW)
    assert [item.state for item in sent] == ["delivered"] * 40
    (digest,) = desk.got
    assert (digest.title, digest.severity) == ("Collector: 40 messages that could not be sent before", "critical")
    assert len(digest.body) <= 3500


def test_a_test_alert_goes_by_itself_and_first():
    desk = Desk()
    outbox(ops=desk).send([*several(5), replace(MESSAGE, message_id="t", kind="self_test", title="test")], NOW)
    assert desk.got[0].title == "test"
    assert len(desk.got) == 2


def test_after_a_message_that_was_not_taken_the_rest_is_not_tried():
    class Picky(Desk):
        def deliver(self, message):
            self.got.append(message)
            return "" if message.title == "T0" else "no"

    desk = Picky()
    sent = outbox(ops=desk).send(several(3), NOW)
    assert [item.state for item in sent] == ["delivered", "waiting", "waiting"]
    assert len(desk.got) == 2


def test_what_nobody_takes_for_days_is_given_up_aloud(said):
    old = replace(MESSAGE, made_at=NOW - 4 * DAY)
    (sent,) = outbox(ops=Desk("no")).send([old], NOW)
    assert (sent.state, sent.error) == ("given_up", "no")
    assert "alert_given_up" in said()


def test_messages_for_a_target_that_was_taken_out_are_given_up(said):
    (sent,) = outbox().send([MESSAGE], NOW)
    assert (sent.state, sent.error) == ("given_up", NOT_CONFIGURED)


def test_a_clock_that_was_put_back_does_not_keep_a_message_for_a_year():
    waits = replace(MESSAGE, next_try_at=NOW + 365 * DAY)
    assert outbox(ops=Desk()).send([waits], NOW)[0].state == "delivered"
    assert outbox(ops=Desk()).send([replace(MESSAGE, next_try_at=NOW + MINUTE)], NOW) == []


def test_a_target_that_hangs_costs_a_bounded_time_and_is_not_called_twice(hook, monkeypatch):
    monkeypatch.setattr("collector.alerts.outbox.SEND_WITHIN_S", 0.3)
    hook.hold.clear()
    box = outbox(ops=AppriseTarget(f"json://{hook.place}/"), home=Desk())
    mine = replace(MESSAGE, message_id="m2", target="home")
    assert {item.target: item.state for item in box.send([MESSAGE, mine], NOW)} == {
        "ops": "waiting",
        "home": "delivered",
    }
    (again,) = box.send([MESSAGE], NOW + HOUR)
    assert again.error.startswith("no answer within")
    hook.hold.set()


# --------------------------------------------------------------------------- the dead man's switch


def test_the_ping_calls_its_address_and_says_what_came_back(hook):
    assert Ping(f"http://{hook.place}/{CANARY}").send() == ""
    assert hook.asked == [f"/{CANARY}"]
    hook.status = 404
    assert Ping(f"http://{hook.place}/{CANARY}").send() == "it answered 404"


def test_a_ping_that_nobody_answers_is_said_without_its_address():
    reason = Ping(f"http://127.0.0.1:1/{CANARY}").send()
    assert reason.startswith("no answer")
    assert CANARY not in reason


def test_a_call_that_does_not_end_gives_nothing_and_its_name_is_busy_until_it_does(hook):
    hook.hold.clear()
    bounded, ping = Bounded(), Ping(f"http://{hook.place}/")
    first = bounded.start("ping", ping.send)
    assert result_of(first, 0.05) is None
    assert result_of(bounded.start("ping", ping.send), 60) is None
    hook.hold.set()
    assert result_of(first, 5) == ""
    assert len(hook.asked) == 1


def test_bounds_are_seconds_not_minutes():
    assert targets.SEND_WITHIN_S <= 30
    assert targets.PING_WITHIN_S <= 15

"""The live view as a person has it: the real command in a pseudo-terminal, in a pipe, and while the database goes."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from contextlib import contextmanager

import pytest

from tests.acceptance.program import NOBODY, REPOSITORY, Program, wait_until

ALTERNATE_ON, ALTERNATE_OFF, CURSOR_ON = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")


class Screen:
    """A command on a terminal of its own; `text` is everything it wrote."""

    def __init__(self, process, terminal):
        self._process, self._terminal = process, terminal
        self.text = ""

    def read(self):
        """Take in what was written lately; return everything so far."""
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
            while select.select([self._terminal], [], [], 0.02)[0]:
                self.text += os.read(self._terminal, 65536).decode("utf-8", "replace")
        return self.text

    def wait(self, word, limit_s=30):
        """Wait until a word was drawn, after what `forget` left out."""
        wait_until(lambda: word in plain(self.read()), f"{word!r} in {plain(self.text)[-2000:]}", limit_s)

    def forget(self):
        self.read()
        self.text = ""

    def type(self, keys):
        os.write(self._terminal, keys)

    def resize(self, rows, columns):
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def modes(self):
        return termios.tcgetattr(self._terminal)

    def send(self, number):
        self._process.send_signal(number)

    def ended(self, limit_s=10):
        wait_until(lambda: self.read() is not None and self._process.poll() is not None, "the view's end", limit_s)
        self.read()
        return self._process.returncode


def plain(text):
    """What was drawn, without the terminal's own sequences."""
    return re.sub(r"\x1b(\[[0-9;?]*[a-zA-Z]|\][^\x07]*\x07|[()][A-Z0-9])", "", text)


@contextmanager
def on_a_terminal(program, *words, rows=24, columns=80, **environment):
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    variables = {**program.environment, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment}
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        if name not in environment:
            variables.pop(name, None)
    process = subprocess.Popen(
        [*program.command("watch", *words)],
        cwd=REPOSITORY,
        env=variables,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - Ctrl+C must come from the terminal
    )
    try:
        yield Screen(process, terminal)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        os.close(inside)
        os.close(terminal)


@pytest.fixture(scope="module")
def program(install):
    """An installation whose collector ended two cycles a while ago."""
    made = install(NOBODY)
    for number, cadence in ((1, "daily"), (2, "market")):
        made.rows(
            """
            INSERT INTO cycles (cadence, state, started_at, finished_at, instance, folder, simulated, rows_written)
            VALUES (%s, 'ok', now() - interval '9 min', now() - interval '8 min', 'test:1', '', true, 120)
            """,
            cadence,
        )
        made.rows(
            """
            INSERT INTO jobs (cycle_id, fingerprint, source, dataset, subject, instruments, assets, state, error,
                rows_written, rows_unchanged, rejects, finished_at)
            VALUES (%s, gen_random_uuid(), 'okx', 'candles', 'all', '{}', '{}', 'ok', '', 120, 0, 0, now())
            """,
            number,
        )
    made.rows("INSERT INTO provider_budgets VALUES ('okx', 'address', 'calls', 60, 100, 7, '[]', now())")
    return made


def test_the_view_shows_the_work_and_q_leaves_the_terminal_as_it_was(program):
    with on_a_terminal(program, "--every", "0.3") as screen:
        before = screen.modes()
        screen.wait("no collector is running")
        screen.wait("cycles")
        screen.wait("limits in use")
        assert ALTERNATE_ON in screen.text
        assert COLOUR.search(screen.text)
        screen.type(b"\x1bOQ")  # F2, which has a Q in it
        screen.forget()
        screen.wait("q: quit")
        screen.type(b"q")
        assert screen.ended() == 0
        assert screen.text.rindex(ALTERNATE_OFF) > screen.text.rindex("q: quit")
        assert CURSOR_ON in screen.text
        assert screen.modes() == before
        assert "Traceback" not in screen.text


def test_ctrl_c_ends_with_130_and_a_signal_with_0_and_both_restore_the_terminal(program):
    for end, code in ((lambda screen: screen.type(b"\x03"), 130), (lambda screen: screen.send(signal.SIGTERM), 0)):
        with on_a_terminal(program, "--every", "0.3") as screen:
            before = screen.modes()
            screen.wait("q: quit")
            end(screen)
            assert screen.ended() == code
            assert ALTERNATE_OFF in screen.text
            assert screen.modes() == before


def test_a_resize_is_drawn_at_once_and_never_wider_than_the_terminal(program):
    with on_a_terminal(program, "--every", "60") as screen:
        screen.wait("datasets:")
        screen.resize(40, 160)
        screen.send(signal.SIGWINCH)
        screen.forget()
        wait_until(
            lambda: [line for line in plain(screen.read()).splitlines() if "cycle:" in line and "datasets:" in line],
            "two columns",
        )
        screen.resize(10, 40)
        screen.forget()
        screen.wait("Crypto Data Collector")
        screen.forget()
        screen.wait("Crypto Data Collector")
        frame = plain(screen.text)
        assert max(len(line.rstrip("\r")) for line in frame.splitlines()) <= 40
        screen.type(b"q")
        assert screen.ended() == 0


def test_no_colour_is_used_where_none_is_wanted(program):
    with on_a_terminal(program, "--every", "0.3", NO_COLOR="1") as screen:
        screen.wait("limits in use")
        assert not COLOUR.search(screen.text)
    with on_a_terminal(program, "--every", "0.3", TERM="dumb") as screen:
        screen.wait("no collector is running")
        assert "\x1b" not in screen.text


def test_a_pipe_gets_plain_lines_and_one_picture_can_be_had(program):
    with program.running("watch", "--every", "0.2") as piped:
        wait_until(lambda: "no collector is running" in piped.err, "the first line")
        assert piped.stop(signal.SIGINT) == 130
    lines = piped.err.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z ", line) and line.isprintable() for line in lines)
    assert any(re.search(r"cycle \d+ market ok after", line) for line in lines)
    once = program.run("watch", "--once")
    assert (once.status, once.err) == (0, "")
    assert "\x1b" not in once.out
    assert "limits in use" in once.out


def test_json_is_one_line_a_look(program):
    done = program.run("watch", "--json", "--once")
    (line,) = done.out.splitlines()
    picture = json.loads(line)
    assert picture["away"] == ""
    assert {cycle["cadence"] for cycle in picture["cycles"]} == {"daily", "market"}
    assert picture["freshness"][0].keys() >= {"source", "dataset", "stale", "last_ok_at"}
    with program.running("watch", "--json", "--every", "0.2") as repeated:
        wait_until(lambda: repeated.err.count("\n") >= 3, "three looks")
        repeated.stop(signal.SIGINT)
    assert all(json.loads(row)["at"] for row in repeated.err.splitlines())


@pytest.mark.faults
def test_a_view_survives_its_database_and_never_runs_the_collector_s_server(venues, tmp_path):
    """With the embedded database: nobody runs it, a collector does, and then it is gone again."""
    program = Program(tmp_path, addresses=venues.base_urls)
    assert "there is no database" in program.run("watch", "--once").out
    assert not (tmp_path / "data" / "postgres").exists()  # a look makes nothing
    assert program.run("once", "--cadence", "daily").status == 0
    with on_a_terminal(program, "--every", "0.3") as screen:
        screen.wait("database away")  # its one look at a server of its own is over
        screen.wait("nobody runs the database")
        screen.wait("daily")
        with program.running("collect") as collector:
            screen.forget()
            screen.wait("collecting", 60)
            note = json.loads((tmp_path / "data" / "postgres" / "owner.lock").read_text())
            assert note["pid"] == collector.pid
            assert collector.stop() == 0
        screen.forget()
        screen.wait("database away")
        screen.wait("s ago; nobody runs the database")
        screen.type(b"q")
        assert screen.ended() == 0
    assert program.run("watch", "--once").status == 0  # one picture may start the server, as `status` does


def test_an_unreachable_database_is_said_and_the_code_is_1(tmp_path):
    nowhere = Program(tmp_path, addresses=NOBODY, url="postgresql://a:secret@127.0.0.1:1/x")
    done = nowhere.run("watch", "--once")
    assert done.status == 1
    assert "database away" in done.out
    assert "secret" not in done.out

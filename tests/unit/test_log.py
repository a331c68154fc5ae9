"""One event, one line; a folder per cycle with a file per service; nothing a provider says can forge a line."""

import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta

import pytest

from collector.config import LogSettings
from collector.log import cycle_folder, get_logger, prune_folders, set_up_logging, tear_down_logging

STARTED = datetime(2026, 1, 31, 15, 30, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path):
    yield LogSettings(directory=tmp_path / "logs", level="DEBUG")
    tear_down_logging()


def test_lines_of_a_cycle_go_to_one_file_per_service_and_others_to_the_daemon_log(settings):
    set_up_logging(settings, console=None)
    get_logger("Collector").info("started")
    with cycle_folder(settings.directory, started_at=STARTED, cadence="market") as folder:
        get_logger("OkxService").info("job_done", dataset="tickers", rows=3)
        get_logger("Database").warning("slow", seconds=1.23456)
    get_logger("Collector").info("stopped")
    assert folder.path.name == "cycle_2026-01-31_15-30-00_market"
    assert sorted(path.name for path in folder.path.iterdir()) == ["Database.log", "OkxService.log"]
    line = (folder.path / "OkxService.log").read_text()
    assert line.endswith(" INFO OkxService job_done dataset=tickers rows=3\n")
    assert datetime.fromisoformat(line.split()[0]).utcoffset() == timedelta(0)
    assert (folder.path / "Database.log").read_text().endswith(" WARNING Database slow seconds=1.235\n")
    daemon = (settings.directory / "collector.log").read_text().splitlines()
    assert [row.split()[3] for row in daemon] == ["started", "stopped"]


def test_latest_points_at_the_newest_cycle(settings):
    for minute in (0, 5):
        with cycle_folder(settings.directory, started_at=STARTED + timedelta(minutes=minute), cadence="market"):
            pass
    assert (settings.directory / "latest").readlink().name == "cycle_2026-01-31_15-35-00_market"


def test_two_cycles_of_one_second_have_a_folder_each(settings):
    names = []
    for _ in range(3):
        with cycle_folder(settings.directory, started_at=STARTED, cadence="market") as folder:
            names.append(folder.path.name)
    first = "cycle_2026-01-31_15-30-00_market"
    assert names == [first, f"{first}~2", f"{first}~3"]
    assert (settings.directory / "latest").readlink().name == names[-1]


def test_pool_threads_keep_the_cycle_when_their_context_is_handed_on(settings):
    set_up_logging(settings, console=None)
    with (
        ThreadPoolExecutor(1) as pool,
        cycle_folder(settings.directory, started_at=STARTED, cadence="market") as folder,
    ):
        pool.submit(copy_context().run, get_logger("OkxService").info, "from_a_thread").result()
    assert "from_a_thread" in (folder.path / "OkxService.log").read_text()


@pytest.mark.parametrize("form", ["text", "json"])
def test_control_characters_stay_inside_their_line(tmp_path, form):
    settings = LogSettings(directory=tmp_path, format=form)
    set_up_logging(settings, console=None)
    get_logger("Collector").info("event", name='a\r\n2026 ERROR forged\x1b[31m\x00\u2028"quoted"\\')
    tear_down_logging()
    text = (tmp_path / "collector.log").read_bytes().decode()
    assert text.count("\n") == 1
    assert not set(text[:-1]) & {"\r", "\n", "\x1b", "\x00", "\u2028"}
    if form == "json":
        assert json.loads(text)["name"].startswith("a\r\n2026 ERROR forged")
    else:
        assert '\\"quoted\\"' in text


def test_a_folder_that_cannot_be_made_costs_only_the_folder(settings, capsys):
    settings.directory.parent.mkdir(exist_ok=True)
    settings.directory.write_text("a file where the folder should be")
    set_up_logging(settings, console=None)
    assert "cannot write logs there" in capsys.readouterr().err
    with cycle_folder(settings.directory, started_at=STARTED, cadence="market") as folder:
        assert folder is None
        get_logger("OkxService").warning("still_said")
    assert "still_said" in capsys.readouterr().err


def test_without_a_log_folder_every_line_is_on_stderr_once(settings, capsys):
    settings.directory.parent.mkdir(exist_ok=True)
    settings.directory.write_text("a file where the folder should be")
    set_up_logging(settings, console=sys.stderr)
    get_logger("Collector").info("of_the_daemon")
    get_logger("OkxService").warning("trouble")
    get_logger("OkxService").info("detail")
    said = capsys.readouterr().err.splitlines()[1:]  # after the line about the folder
    assert [line.split()[3] for line in said] == ["of_the_daemon", "trouble", "detail"]


def test_a_folder_deleted_during_the_cycle_costs_no_line_and_doubles_none(settings, capsys):
    set_up_logging(settings, console=sys.stderr)
    with cycle_folder(settings.directory, started_at=STARTED, cadence="market") as folder:
        folder.path.rmdir()
        get_logger("OkxService").info("detail")
        get_logger("OkxService").warning("trouble")
    assert [line.split()[3] for line in capsys.readouterr().err.splitlines()] == ["detail", "trouble"]


def test_a_folder_deleted_during_the_cycle_sends_lines_to_stderr(settings, capsys):
    set_up_logging(settings, console=None)
    with cycle_folder(settings.directory, started_at=STARTED, cadence="market") as folder:
        folder.path.rmdir()
        get_logger("OkxService").info("still_said")
    assert "still_said" in capsys.readouterr().err


def test_the_console_shows_warnings_and_the_life_of_the_collector(settings):
    console = io.StringIO()
    set_up_logging(settings, console=console)
    get_logger("OkxService").info("detail")
    get_logger("OkxService").warning("trouble")
    get_logger("Collector").info("cycle_finished")
    assert [line.split()[3] for line in console.getvalue().splitlines()] == ["trouble", "cycle_finished"]


def test_a_defect_keeps_its_traceback_in_one_line(settings):
    set_up_logging(settings, console=None)
    try:
        raise ValueError("boom")
    except ValueError as error:
        get_logger("Collector").defect("cycle_defect", error, cadence="market")
    tear_down_logging()
    (line,) = (settings.directory / "collector.log").read_text().splitlines()
    assert "Traceback" in line
    assert "boom" in line


def make_folder(settings, day, size):
    path = settings.directory / f"cycle_2026-01-{day:02}_00-00-00_market"
    path.mkdir(parents=True)
    (path / "OkxService.log").write_bytes(b"x" * size)
    return path


def test_cycle_folders_go_by_age(tmp_path):
    settings = LogSettings(directory=tmp_path, keep="10d")
    folders = [make_folder(settings, day, 10) for day in (1, 15, 20, 25)]
    assert prune_folders(settings, datetime(2026, 1, 26, tzinfo=UTC)) == 2
    assert [path.exists() for path in folders] == [False, False, True, True]


def test_cycle_folders_go_by_total_size_and_the_newest_stays(tmp_path):
    settings = LogSettings(directory=tmp_path, keep_mb=1)
    folders = [make_folder(settings, day, 600_000) for day in (1, 2, 3)]
    assert prune_folders(settings, datetime(2026, 1, 3, tzinfo=UTC)) == 2
    assert [path.exists() for path in folders] == [False, False, True]

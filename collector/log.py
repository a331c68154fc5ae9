"""Log records with constant event names and fields, and the folder of each cycle.

A line is `time level service event key=value ...`, or one JSON object. The cycle in progress is a context
variable: lines of a cycle go to `<service>.log` in its folder, all other lines to collector.log.
"""

import contextvars
import itertools
import json
import logging
import logging.handlers
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from collector.config import LogSettings

_folder: contextvars.ContextVar["CycleFolder | None"] = contextvars.ContextVar("cycle_folder", default=None)
_ROOT = "collector"
DAEMON = "Collector"  # the service whose lines tell the daemon's own life
# Control characters would let a provider's text forge lines or colour a terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BARE = re.compile(r"[^\s\"=]+")


class ServiceLogger:
    """Writes events of one service. The event is a constant in snake case; everything else is a field."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._logger = logging.getLogger(f"{_ROOT}.{service}")

    def debug(self, event: str, /, **fields: Any) -> None:
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        self._write(logging.ERROR, event, fields)

    def many(self, event: str, /, rows: Sequence[tuple[float, dict[str, Any]]]) -> None:
        """Write a line of level INFO for each (seconds since the epoch, fields); together they cost half as much."""
        if rows and self._logger.isEnabledFor(logging.INFO):
            record = self._logger.makeRecord(self._logger.name, logging.INFO, "", 0, event, (), None)
            record.service, record.rows = self._service, rows
            self._logger.handle(record)

    def defect(self, event: str, error: Exception, /, **fields: Any) -> None:
        """Write an error with its traceback: for defects of ours only."""
        self._logger.error(event, exc_info=error, extra={"service": self._service, "fields": fields})

    def _write(self, level: int, event: str, fields: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            # Not `log`: nobody is told the line of code, and finding it takes a quarter of the time.
            record = self._logger.makeRecord(self._logger.name, level, "", 0, event, (), None)
            record.service, record.fields = self._service, fields
            self._logger.handle(record)


def get_logger(service: str) -> ServiceLogger:
    """Return the logger of a service, as `BinanceService`; its name is its file in a cycle's folder."""
    return ServiceLogger(service)


class LineFormatter(logging.Formatter):
    """One event, one line, whatever the fields hold."""

    def format(self, record: logging.LogRecord) -> str:
        service, event = getattr(record, "service", record.name), record.getMessage()
        rows: Sequence[tuple[float, dict[str, Any]]] | None = getattr(record, "rows", None)
        if rows is not None:
            return "\n".join(self._line(at, record.levelname, service, event, fields) for at, fields in rows)
        fields = dict(getattr(record, "fields", {}))
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return self._line(record.created, record.levelname, service, event, fields)

    def _line(self, at: float, level: str, service: str, event: str, fields: dict[str, Any]) -> str:
        pairs = "".join([f" {key}={_plain(value)}" for key, value in fields.items()])
        return f"{_stamp(at)} {level} {service} {_CONTROL.sub(_escape, event)}{pairs}"


class JsonFormatter(LineFormatter):
    """The same as one JSON object a line."""

    def _line(self, at: float, level: str, service: str, event: str, fields: dict[str, Any]) -> str:
        head = {"time": _stamp(at), "level": level, "service": service, "event": event}
        return json.dumps({**fields, **head}, default=str)


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _plain(value: Any) -> str:
    if type(value) is int:
        return str(value)
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    if _BARE.fullmatch(text) and not _CONTROL.search(text):
        return text
    return '"' + _CONTROL.sub(_escape, text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


class CycleFolder:
    """The folder of one cycle: a log file per service that worked, then report.json."""

    def __init__(self, root: Path, name: str) -> None:
        self.path = root / name
        self._root = root
        self._files: dict[str, TextIO] = {}

    def open(self) -> None:
        """Create the folder, numbered when the name is taken, and point `latest` at it. Raises OSError."""
        self._root.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(2):  # two short cycles of one cadence can start within a second
            try:
                self.path.mkdir()
                break
            except FileExistsError:
                self.path = self._root / f"{self.path.name.split('~')[0]}~{number}"
        link = self._root / f".latest.{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(self.path.name)
        link.replace(self._root / "latest")

    def write(self, service: str, line: str) -> None:
        file = self._files.get(service)
        if file is None:
            file = self._files[service] = (self.path / f"{service}.log").open("a", encoding="utf-8")
        file.write(line + "\n")
        file.flush()

    def write_file(self, name: str, text: str) -> None:
        """Write a file whole or not at all."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(target)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


class CycleHandler(logging.Handler):
    """Sends a record to its service's file in the cycle's folder; outside a cycle to collector.log.

    What the daemon says about itself goes to both.
    When a file cannot be written the line goes to stderr and collection goes on.
    """

    def __init__(self, outside: logging.Handler, said: Callable[[logging.LogRecord], bool]) -> None:
        """`said` tells which records the console puts on stderr: there they are not written a second time."""
        super().__init__()
        self._outside, self._said = outside, said

    def emit(self, record: logging.LogRecord) -> None:
        folder = _folder.get()
        service = getattr(record, "service", DAEMON)
        if folder is None or service == DAEMON:
            self._outside.handle(record)
        if folder is None:
            return
        line = self.format(record)
        try:
            folder.write(service, line)
        except (OSError, ValueError):  # disk full, folder deleted, or the file closed by a late thread
            if not self._said(record):
                sys.stderr.write(line + "\n")


class _RotatingFile(logging.handlers.RotatingFileHandler):
    """Formats each line once and asks the file system nothing, where the base class does it twice and asks two things.

    The data API writes a line per request; this halves what one costs.
    """

    _size = -1  # of the file, in characters, as far as it is known

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + "\n"
            if self._size < 0:
                self._size = Path(self.baseFilename).stat().st_size
            if self._size and self._size + len(line) > self.maxBytes:
                self.doRollover()
                self._size = 0
            stream = self.stream = self.stream or self._open()
            stream.write(line)
            stream.flush()
            self._size += len(line)
        except (OSError, ValueError):  # disk full, or closed by a late thread
            self._size = -1
            self.handleError(record)


def _for_console(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or getattr(record, "service", "") == DAEMON


def set_up_logging(settings: LogSettings, *, console: TextIO | None, file: str = "collector.log") -> None:
    """Send our events to files and, when given, warnings and cycle summaries to `console`.

    `file` takes what belongs to no cycle; each process needs one of its own, for it is rotated.
    A folder that cannot be written is said once on stderr; everything then goes there.
    """
    formatter = JsonFormatter() if settings.format == "json" else LineFormatter()
    outside = _daemon_file(settings.directory / file)
    on_stderr = console is not None and console is sys.stderr
    handler = CycleHandler(outside, lambda record: on_stderr and _for_console(record))
    if on_stderr and not isinstance(outside, logging.FileHandler):
        outside.addFilter(lambda record: not _for_console(record))
    for each in (outside, handler):
        each.setFormatter(formatter)
    root = logging.getLogger(_ROOT)
    tear_down_logging()
    root.setLevel(settings.level)
    root.propagate = False
    root.addHandler(handler)
    # What no line tells is not looked up for each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for foreign in ("apscheduler", "urllib3"):  # what matters of them is said by our own events
        logging.getLogger(foreign).setLevel(logging.CRITICAL)
    if console is not None:
        stream = logging.StreamHandler(console)
        stream.setFormatter(formatter)
        stream.addFilter(_for_console)
        root.addHandler(stream)


def tear_down_logging() -> None:
    """Close and remove every handler that `set_up_logging` added."""
    root = logging.getLogger(_ROOT)
    for handler in list(root.handlers):
        root.removeHandler(handler)
        if isinstance(handler, CycleHandler):
            handler._outside.close()  # noqa: SLF001 - its own part
        handler.close()


def _daemon_file(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _RotatingFile(path, maxBytes=10_000_000, backupCount=5, encoding="utf-8", delay=False)
    except OSError as error:
        sys.stderr.write(f"{path.parent}: cannot write logs there ({error.strerror}); they go to stderr\n")
        return logging.StreamHandler(sys.stderr)


@contextmanager
def cycle_folder(directory: Path, *, started_at: datetime, cadence: str) -> Iterator[CycleFolder | None]:
    """Make the folder of a cycle and send its lines there; yields None when it cannot be made."""
    folder = CycleFolder(directory, f"cycle_{started_at:%Y-%m-%d_%H-%M-%S}_{cadence}")
    try:
        folder.open()
    except OSError as error:
        get_logger("Collector").warning("cycle_folder_unwritable", folder=folder.path, reason=error.strerror)
        yield None
        return
    token = _folder.set(folder)
    try:
        yield folder
    finally:
        _folder.reset(token)
        folder.close()


def prune_folders(settings: LogSettings, now: datetime) -> int:
    """Delete cycle folders by age and total size, oldest first; return how many went."""
    folders = sorted(path for path in settings.directory.glob("cycle_*") if path.is_dir())
    sizes = {path: sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) for path in folders}
    total, gone = sum(sizes.values()), 0
    oldest_kept = f"cycle_{now - settings.keep:%Y-%m-%d_%H-%M-%S}"
    for path in folders[:-1]:  # the newest stays whatever its size
        if path.name >= oldest_kept and total <= settings.keep_mb * 1_000_000:
            break
        shutil.rmtree(path, ignore_errors=True)
        total -= sizes[path]
        gone += 1
    return gone

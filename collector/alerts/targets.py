"""Where alerts go: a file of JSON lines, or whatever Apprise reaches; and the address of the dead man's switch.

Addresses are secrets: nothing in here says them, and what others say of a failure is cleaned of every part of them.
"""

import json
import logging
import os
import queue
import re
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from collector.clock import iso
from collector.config.alerts import AlertSettings
from collector.errors import ConfigError
from collector.storage.alerts import Message

SEND_WITHIN_S = 25.0  # connecting, sending and being answered, whatever a service does
PING_WITHIN_S = 10.0
LONGEST_REASON = 200
_LEAST_SECRET = 4  # characters; shorter parts of an address are words of any text


class Target(Protocol):
    """A place that takes messages."""

    def deliver(self, message: Message) -> str:
        """Hand a message over and return nothing, or why it was not taken; never the address. Raises nothing."""


class FileTarget:
    """A file of this machine that takes a line of JSON for each message; each is read back to be sure."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def deliver(self, message: Message) -> str:
        line = json.dumps(
            {
                "id": message.message_id,
                "at": iso(message.made_at),
                "kind": message.kind,
                "severity": message.severity,
                "title": message.title,
                "body": message.body,
            }
        )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return "" if self._append(line.encode()) else "the file does not hold what was written to it"
        except OSError as error:
            return f"the file cannot be written: {error.strerror}"

    def _append(self, line: bytes) -> bool:
        """Add a line, beginning a new one after a line that a kill cut off; return whether it can be read back."""
        with self._path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
            file.seek(-len(line) - 1, os.SEEK_END)
            return file.read() == line + b"\n"


class AppriseTarget:
    """Any of the services that Apprise knows. Raises ValueError for an address that it does not."""

    def __init__(self, url: str) -> None:
        import apprise  # noqa: PLC0415 - a tenth of a second that only its targets cost

        quiet = logging.getLogger("apprise")  # it would name hosts and users on stderr, also where nobody handles it
        quiet.setLevel(logging.WARNING)  # what its results repeat: why a service did not take a message
        quiet.propagate = False
        quiet.handlers = [logging.NullHandler()]
        self._kinds: Mapping[str, Any] = {
            "critical": apprise.NotifyType.FAILURE,
            "warning": apprise.NotifyType.WARNING,
            "info": apprise.NotifyType.INFO,
        }
        self._service = apprise.Apprise()
        self._secrets = parts_of(url)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a module that its mail service imports
            known = self._service.add(url)
        if not known:
            raise ValueError("unknown to Apprise")

    def deliver(self, message: Message) -> str:
        kind = self._kinds[message.severity]
        result = self._service.notify(body=message.body, title=message.title, notify_type=kind)
        if result:
            return ""
        said = [str(entry.message) for entry in result.logs()]
        return self._cleaned(said[0]) if said else "the service did not take it"

    def _cleaned(self, text: str) -> str:
        for part in self._secrets:
            text = text.replace(part, "***")
        return " ".join(text.split())[:LONGEST_REASON]


def parts_of(url: str) -> list[str]:
    """Return every part of an address that may be a secret, as written and as meant, the longest first."""
    parts = {part for text in (url, unquote(url)) for part in (text, *re.split(r"[/:@?&=#+,;\s]+", text))}
    return sorted((part for part in parts if len(part) >= _LEAST_SECRET), key=len, reverse=True)


def build_targets(settings: AlertSettings) -> dict[str, Target]:
    """Return the targets of the settings. Raises ConfigError for an address that nobody understands."""
    targets: dict[str, Target] = {}
    for name, url in settings.addresses().items():
        if url.lower().startswith("file://"):
            place = urlsplit(url)
            if place.netloc or not place.path.strip("/"):
                raise _unknown(name)
            targets[name] = FileTarget(Path(unquote(place.path)))
            continue
        try:
            targets[name] = AppriseTarget(url)
        except ValueError as error:
            raise _unknown(name) from error
    return targets


def _unknown(name: str) -> ConfigError:
    remedy = (
        "write it as Apprise does (tgram://token/chat, mailtos://..., json://host/path) or file:///path/alerts.jsonl"
    )
    return ConfigError(f"alerts.targets.{name}.url: the value (hidden) is no address of a target; {remedy}")


class Ping:
    """The dead man's switch: whoever is behind the address raises the alarm when it is no longer called."""

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self) -> str:
        """Call the address and return nothing, or why it did not answer well; never the address."""
        request = urllib.request.Request(self._url, headers={"User-Agent": "crypto-data-collector"})  # noqa: S310 - http(s) by the settings
        try:
            with urllib.request.urlopen(request, timeout=PING_WITHIN_S / 2) as answer:  # noqa: S310 - the same
                answer.read(1024)
        except urllib.error.HTTPError as error:
            return f"it answered {error.code}"
        except (OSError, ValueError) as error:
            return f"no answer ({type(error).__name__})"
        return ""


class Bounded:
    """Runs calls beside us and waits only so long; a name whose last call still hangs is not called again."""

    def __init__(self) -> None:
        self._hanging: dict[str, threading.Thread] = {}

    def start(self, name: str, call: Callable[[], Any]) -> "queue.SimpleQueue[Any]":
        """Begin a call; its result comes out of the queue. While an earlier one hangs, None comes at once."""
        results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        before = self._hanging.get(name)
        if before is not None and before.is_alive():
            results.put(None)
            return results
        thread = threading.Thread(target=lambda: results.put(call()), name=f"alert {name}", daemon=True)
        self._hanging[name] = thread
        thread.start()
        return results


def result_of(results: "queue.SimpleQueue[Any]", within_s: float) -> Any:
    """Return what a call gave; None when it did not end in time."""
    try:
        return results.get(timeout=max(0.0, within_s))
    except queue.Empty:
        return None

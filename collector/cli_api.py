"""What `api` and `api token` do. Imported by nothing but their own process: the server's packages take 40 MB."""

import secrets
import sys
import threading
from typing import Any

from collector.api.access import hashed
from collector.api.app import create_app
from collector.api.serve import Server, address, listen, serve
from collector.config import Settings
from collector.exits import OK
from collector.log import set_up_logging
from collector.wiring_api import build_parts

TOKEN_BYTES = 32


def run(settings: Settings, *, attached: bool) -> int:
    """Serve until a signal; when `attached`, until standard input closes, which it does when the parent dies."""
    set_up_logging(settings.logs, console=sys.stderr, file="api.log")
    with listen(settings.api.host, settings.api.port) as opened, build_parts(settings, lasting=not attached) as parts:
        if settings.simulated and not attached:
            _say("SIMULATED: every number below is made up")

        def started(server: Server) -> None:
            _say(f"dashboard: {address(opened)}/")
            _say(f"data API: {address(opened)}/docs")
            if attached:
                threading.Thread(target=_end_with_input, args=(server,), name="input", daemon=True).start()

        serve(create_app(parts), opened, streams=settings.api.streams, started=started)
    return OK


def _end_with_input(server: Server) -> None:
    sys.stdin.read()
    server.stop()


def token(settings: Settings) -> int:
    """Print a new token and how to let it in."""
    made = secrets.token_urlsafe(TOKEN_BYTES)
    digests = ",".join([*settings.api.tokens, hashed(made)])
    print(f"token:   {made}    (shown this once; sent as: Authorization: Bearer {made})")
    print(f"setting: COLLECTOR_API__TOKENS={digests}")
    return OK


def _say(text: Any) -> None:
    print(text, file=sys.stderr, flush=True)

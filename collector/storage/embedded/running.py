"""Finds the embedded server that another process runs, without starting one, waiting for one or making a folder."""

from pathlib import Path

from collector.storage.embedded.connection import live_server, server_url
from collector.storage.embedded.layout import Layout


def running_server(directory: Path) -> str | None:
    """Return the SQLAlchemy URL of the server that serves a database folder now; None when nobody runs it."""
    if not directory.is_dir():
        return None
    socket_dir = live_server(Layout(directory.resolve()))
    return None if socket_dir is None else server_url(socket_dir)

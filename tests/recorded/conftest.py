"""Recorded provider answers from the folder named by RECORDED_PAYLOADS; skipped with a reason where there is none."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

DEFAULT_FOLDER = Path(__file__).parents[2] / ".." / "shared" / "payloads"


@pytest.fixture(scope="session")
def recorded() -> Callable[..., bytes]:
    """Open a recording: `recorded("binance/name.json")` or `recorded("binance", "name.json")` returns its bytes."""
    folder = Path(os.environ.get("RECORDED_PAYLOADS") or DEFAULT_FOLDER).resolve()

    def read(*parts: str) -> bytes:
        if not folder.is_dir():
            pytest.skip(f"no recordings at {folder}: name their folder in RECORDED_PAYLOADS")
        path = folder.joinpath(*parts)
        if not path.is_file():
            pytest.skip(f"the recordings at {folder} have no {'/'.join(parts)}")
        return path.read_bytes()

    return read

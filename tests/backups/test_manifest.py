"""The manifest: what is written comes back, and a file that is not as it was is noticed."""

import json

import pytest

from collector.backups.manifest import check_files, compare, read_manifest, write_manifest
from collector.errors import ConfigError
from collector.storage.copies.dumping import Held
from tests.backups.samples import NOON, manifest, put


def test_what_is_written_is_read_again(tmp_path):
    for written in (manifest(), manifest(verified_at=None, simulated=None, extensions=("timescaledb",))):
        write_manifest(tmp_path, written)
        assert read_manifest(tmp_path) == written


def test_files_as_they_were_pass(tmp_path):
    path = put(tmp_path, NOON)
    found = read_manifest(path)
    check_files(path, found)
    assert found.size_bytes == len(b"table of contents") + len(b"rows")
    digest = "bc51e9e65d79e1c90ba544ab2eae1044ccdf8c1af7a559ba375cba4276f7d99e"  # printf rows | sha256sum
    assert found.files["dump/1.dat.gz"].sha256 == digest


def change_a_byte(path):
    (path / "dump" / "1.dat.gz").write_bytes(b"rowz")


def cut(path):
    (path / "dump" / "1.dat.gz").write_bytes(b"row")


def lose(path):
    (path / "dump" / "1.dat.gz").unlink()


def add(path):
    (path / "dump" / "2.dat.gz").touch()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (change_a_byte, "is not the file that was written"),
        (cut, "is not the file that was written"),
        (lose, "is missing"),
        (add, "is no part of the backup"),
    ],
)
def test_a_file_that_is_not_as_it_was_is_named_in_one_line(tmp_path, spoil, told):
    path = put(tmp_path, NOON)
    spoil(path)
    with pytest.raises(ConfigError, match=told) as caught:
        check_files(path, read_manifest(path))
    assert ".dat.gz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 1, "tables": 5}', "null"])
def test_a_damaged_manifest_is_one_line(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ConfigError, match="is damaged"):
        read_manifest(tmp_path)


def test_a_manifest_of_a_later_format_is_refused(tmp_path):
    path = put(tmp_path, NOON)
    found = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**found, "format": 2}))
    with pytest.raises(ConfigError, match="a format that this program does not know"):
        read_manifest(path)


def test_a_folder_without_a_manifest_is_no_backup(tmp_path):
    with pytest.raises(ConfigError, match="is no backup"):
        read_manifest(tmp_path)


def test_differences_are_told_by_table():
    told = {"a": Held(rows=1, hash="5"), "b": Held(rows=2, hash="6"), "c": Held(rows=3, hash="7")}
    assert compare(told, dict(told)) == []
    found = {"a": Held(rows=1, hash="-5"), "b": Held(rows=1, hash="6"), "d": Held(rows=0, hash="0")}
    assert compare(told, found) == [
        "a: other values in its 1 rows",
        "b: 1 rows instead of 2",
        "c: missing",
        "d: not in the original",
    ]

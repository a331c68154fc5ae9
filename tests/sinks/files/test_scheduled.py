"""The scheduled export: whole days, manifest last, nothing twice, to a folder and to an S3-compatible store."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from moto.server import ThreadedMotoServer

from collector.clock import ManualClock
from collector.config.export import ExportSettings
from collector.errors import SinkError
from collector.sinks.files.importing import import_folder
from collector.sinks.files.manifest import read_manifest
from collector.sinks.files.scheduled import ScheduledExport
from collector.sinks.files.target import Target
from collector.sinks.files.verifying import mismatches

NOW = datetime(2026, 2, 2, 1, 25, tzinfo=UTC)


def chore(database, target, **values):
    settings = ExportSettings(enabled=True, target=str(target), back="5d", **{"datasets": ("candles",), **values})
    return ScheduledExport(settings, database, ManualClock(NOW))


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_whole_days_are_exported_and_verify(filled, tmp_path):
    told = chore(filled, tmp_path).run(NOW)
    # Bars lie from the 30th of January 22:00 to the 1st of February 23:50: three days have files, two days have none.
    days = [f"candles/venue=okx/month={day[:7]}/day={day}/candles.parquet" for day in ("2026-01-30", "2026-02-01")]
    assert set(days) <= set(names(tmp_path))
    assert "manifests/2026-01-28.json" in names(tmp_path)
    assert told["rows"] == 1800 + 3
    assert list(mismatches(tmp_path, read_manifest(tmp_path))) == []


def test_what_was_exported_can_be_imported(filled, emptied, rows_of, tmp_path):
    chore(filled, tmp_path).run(NOW)
    import_folder(emptied, tmp_path)
    assert rows_of(emptied, "SELECT count(*) FROM candles") == [(1800,)]


def test_a_second_turn_exports_recent_days_anew_and_leaves_settled_ones(filled, tmp_path):
    chore(filled, tmp_path, again="1h").run(NOW)
    later = NOW + timedelta(hours=3)
    assert chore(filled, tmp_path, again="1h").run(later) == {}  # every day had settled by the first turn


def test_a_turn_that_was_killed_between_file_and_manifest_goes_on(filled, tmp_path, monkeypatch):
    put = Target.put

    def dying(self, path, name):
        if name == "manifests/2026-01-31.json":
            raise SinkError("killed here")
        put(self, path, name)

    monkeypatch.setattr(Target, "put", dying)
    unlucky = chore(filled, tmp_path)
    with pytest.raises(SinkError):
        unlucky.run(NOW)
    assert unlucky.due(NOW + timedelta(hours=1))
    assert "manifests/2026-01-31.json" not in names(tmp_path)
    monkeypatch.setattr(Target, "put", put)
    unlucky.run(NOW)
    assert list(mismatches(tmp_path, read_manifest(tmp_path))) == []
    assert read_manifest(tmp_path).rows == 1803


def test_what_a_killed_process_left_unfinished_at_the_target_goes_at_the_next_start(filled, tmp_path):
    left = tmp_path / "candles/venue=okx/month=2026-01/day=2026-01-30/.part-0a1b2c3d-candles.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"PAR1")
    chore(filled, tmp_path).run(NOW)
    assert [name for name in names(tmp_path) if ".part-" in name] == []


def test_the_next_turn_follows_the_cron_line(filled, tmp_path):
    done = chore(filled, tmp_path)
    assert done.due(NOW)
    done.run(NOW)
    assert not done.due(datetime(2026, 2, 3, 1, 24, tzinfo=UTC))
    assert done.due(datetime(2026, 2, 3, 1, 25, tzinfo=UTC))


@pytest.fixture
def store(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_an_s3_compatible_store_gets_the_same_files(filled, store, tmp_path):
    target = Target("s3://bucket/prefix", endpoint_url=store)
    target._files.mkdir("bucket")
    chore(filled, "s3://bucket/prefix", endpoint_url=store).run(NOW)
    chore(filled, tmp_path).run(NOW)
    for name in names(tmp_path):
        if name.endswith(".parquet"):
            assert target.read(name) == (tmp_path / name).read_bytes()
    assert target.read("manifests/2026-02-01.json") is not None
    assert target.read("manifests/2026-02-02.json") is None


def test_a_store_that_refuses_is_told_without_the_secret(filled, store):
    with pytest.raises(SinkError) as refused:
        chore(filled, "s3://no-such-bucket/x", endpoint_url=store).run(NOW)
    assert "made-up-secret" not in str(refused.value)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "made-up-secret"

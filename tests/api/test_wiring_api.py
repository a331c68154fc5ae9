"""What the API is made of: sessions that only read, providers within the share that is left, everybody's pauses."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from collector import __version__
from collector.clock import SystemClock
from collector.config import Layer, load_settings
from collector.errors import ConfigError, StorageUnavailable
from collector.storage.providers import ProviderStore
from collector.wiring_api import build_parts
from tests.api.streaming import wait_until

ROLE = "reads_only"


def settings(url, *trees):
    layers = [Layer("test", tree) for tree in ({"database": {"url": url}}, *trees)]
    return load_settings(environment={}, overrides=layers)[0]


def uses(parts, source):
    """What may be used of each limit of a provider, by scope and window."""
    quota = parts.live._providers[source].venue.quota
    return {(use.scope, use.window_s): use.allowed for use in quota.state().uses}


def test_the_parts_are_those_of_the_settings(migrated_url):
    with build_parts(settings(migrated_url, {"simulated": True}), lasting=False) as parts:
        assert (parts.version, parts.simulated) == (__version__, True)
        assert parts.venues == ("binance_futures", "binance_spot", "kraken", "okx")
        assert "coingecko" in parts.live.sources()
        assert "coincap" not in parts.live.sources()  # needs a key
        assert parts.computed["derived_metrics"] == timedelta(minutes=5)
        with pytest.raises(StorageUnavailable, match="read-only"), parts.database.transaction() as connection:
            connection.execute(text("DELETE FROM cycles"))


def test_the_logs_are_those_of_the_settings_and_the_disk_that_of_the_database(migrated_url, tmp_path):
    with build_parts(settings(migrated_url, {"logs": {"directory": str(tmp_path)}}), lasting=False) as parts:
        assert parts.log_folder == tmp_path
        assert parts.data_folder is None  # not ours: the server is asked


@pytest.mark.parametrize(("reserve", "share"), [(5, 0.05), (20, 0.2)])
def test_providers_are_asked_within_what_the_collector_leaves_unused(migrated_url, reserve, share):
    with build_parts(settings(migrated_url, {"http": {"reserve_pct": reserve}}), lasting=False) as parts:
        assert uses(parts, "binance_futures")["weight", 60] == int(2400 * share)


def test_nobody_is_asked_when_the_collector_may_use_all_of_the_limits(migrated_url):
    with build_parts(settings(migrated_url, {"http": {"reserve_pct": 4}}), lasting=False) as parts:
        assert parts.live.sources() == ()


def test_a_ban_that_the_collector_met_is_obeyed(migrated_url, database):
    until = SystemClock().now() + timedelta(hours=1)
    ProviderStore(database).save_state("okx", until, "told to wait", banned=True)
    with build_parts(settings(migrated_url), lasting=False) as parts:
        assert parts.live.health()["okx"].status == "offline"
        assert parts.live.health()["kraken"].status == "online"


def test_a_ban_that_the_collector_meets_later_is_known_without_asking(migrated_url, database, monkeypatch):
    monkeypatch.setattr("collector.wiring_api.LOOK_EVERY_S", 0.05)
    with build_parts(settings(migrated_url), lasting=False) as parts:
        assert parts.live.health()["okx"].status == "online"
        until = SystemClock().now() + timedelta(hours=1)
        ProviderStore(database).save_state("okx", until, "told to wait", banned=True)
        wait_until(lambda: parts.live.health()["okx"].status == "offline", "the ban")


def test_what_the_api_used_is_kept_apart_from_the_collector_s_budget(migrated_url, database):
    with build_parts(settings(migrated_url), lasting=False) as parts:
        parts.live._keep()
    with database.reading() as connection:
        accounts = set(connection.execute(text("SELECT DISTINCT account FROM provider_budgets")).scalars())
    assert accounts == {"address api"}


def test_a_role_that_may_only_read_is_enough(migrated_url, database):
    name = make_url(migrated_url).database
    with database.transaction() as connection:
        connection.execute(text(f"DROP ROLE IF EXISTS {ROLE}"))
        connection.execute(text(f"CREATE ROLE {ROLE} LOGIN"))
        connection.execute(text(f'GRANT CONNECT ON DATABASE "{name}" TO {ROLE}'))
        connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}"))
    url = make_url(migrated_url).set(username=ROLE).render_as_string(hide_password=False)
    try:
        with build_parts(settings(url), lasting=False) as parts:
            parts.live._keep()
            parts.live._keep()
            assert parts.live.health()["okx"].status == "online"
    finally:
        with database.transaction() as connection:
            connection.execute(text(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}"))


def test_a_database_without_our_tables_is_refused_with_the_remedy(database_url, migrated_url, database):
    refused = pytest.raises(ConfigError, match="has no tables yet; start the collector once")
    with refused, build_parts(settings(database_url), lasting=False):
        raise AssertionError("never lent")
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    refused = pytest.raises(ConfigError, match=r"is at schema 0001, not .*; python main.py db upgrade")
    with refused, build_parts(settings(migrated_url), lasting=False):
        raise AssertionError("never lent")


def test_a_database_that_is_away_does_not_keep_the_api_from_starting():
    with build_parts(settings("postgresql://nobody@127.0.0.1:1/nothing"), lasting=False) as parts:
        assert parts.live.health()["okx"].status == "online"

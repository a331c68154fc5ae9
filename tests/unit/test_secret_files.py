"""A setting may stand in a file that COLLECTOR_..._FILE names, as secrets of containers and service units do."""

import pytest

from collector.config import explain, load_settings
from collector.errors import ConfigError

URL = "postgresql://collector:pa55word@database:5432/collector"


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"{URL}\n")
    return file


def test_a_setting_is_read_from_the_file_without_its_line_end(secret):
    settings, layers = load_settings(environment={"COLLECTOR_DATABASE__URL_FILE": str(secret)})
    assert settings.database.url.get_secret_value() == URL
    (line,) = [line for line in explain(settings, layers) if line.name == "database.url"]
    assert (line.value, line.origin) == ("(set)", "COLLECTOR_DATABASE__URL_FILE in the environment")


def test_any_setting_can_be_in_a_file_also_below_a_name_of_one_s_own(tmp_path):
    (tmp_path / "key").write_text("abc")
    (tmp_path / "tokens").write_text("[a, b]\n")
    names = {
        "COLLECTOR_SOURCES__COINGECKO__API_KEY_FILE": str(tmp_path / "key"),
        "COLLECTOR_SOURCES__COINGECKO__PLAN": "demo",
        "COLLECTOR_API__TOKENS_FILE": str(tmp_path / "tokens"),
    }
    settings, _ = load_settings(environment=names)
    assert settings.sources["coingecko"].api_key.get_secret_value() == "abc"
    assert settings.api.tokens == ("a", "b")


def test_the_name_may_stand_in_the_env_file_and_the_environment_wins(tmp_path, secret):
    env = tmp_path / ".env"
    env.write_text(f"COLLECTOR_DATABASE__URL_FILE={secret}\n")
    assert load_settings(environment={}, env_file=env)[0].database.url.get_secret_value() == URL
    other = {"COLLECTOR_DATABASE__URL": "postgresql://b@localhost/b"}
    assert load_settings(environment=other, env_file=env)[0].database.url.get_secret_value() == other.popitem()[1]


def test_a_value_and_a_file_for_one_setting_are_refused(secret):
    names = {"COLLECTOR_DATABASE__URL_FILE": str(secret), "COLLECTOR_DATABASE__URL": "postgresql://b@localhost/b"}
    with pytest.raises(ConfigError, match="COLLECTOR_DATABASE__URL is set as well; remove one of the two"):
        load_settings(environment=names)


@pytest.mark.parametrize(
    ("file", "other"),
    [("X__URL_FILE", "X__URL"), ("X__URL_FILE", "X"), ("X_FILE", "X"), ("X_FILE", "X__URL"), ("X__URL_FILE", "X_FILE")],
)
def test_the_address_of_a_target_and_a_file_of_it_are_refused_in_any_of_their_forms(tmp_path, file, other):
    (tmp_path / "hook").write_text("json://host/path\n")
    prefix = "COLLECTOR_ALERTS__TARGETS__"
    value = str(tmp_path / "hook") if other.endswith("_FILE") else "json://other/path"
    with pytest.raises(ConfigError, match=f"^{prefix}{file} .environment.: {prefix}{other} is set as well; remove one"):
        load_settings(environment={prefix + file: str(tmp_path / "hook"), prefix + other: value})


def test_a_file_that_cannot_be_read_is_one_line_that_names_both(tmp_path):
    with pytest.raises(ConfigError, match=r"missing: cannot be read .*named by COLLECTOR_DATABASE__URL_FILE") as caught:
        load_settings(environment={"COLLECTOR_DATABASE__URL_FILE": str(tmp_path / "missing")})
    assert "\n" not in str(caught.value)


def test_a_wrong_value_in_a_file_is_not_shown(tmp_path):
    (tmp_path / "secret").write_text("mysql://user:pa55word@host/db")
    with pytest.raises(ConfigError) as caught:
        load_settings(environment={"COLLECTOR_DATABASE__URL_FILE": str(tmp_path / "secret")})
    assert "pa55word" not in str(caught.value)
    assert "database.url" in str(caught.value)


def test_an_empty_name_says_nothing_and_an_unknown_setting_stays_an_error():
    assert load_settings(environment={"COLLECTOR_DATABASE__URL_FILE": " "})[0].database.url.get_secret_value() == ""
    with pytest.raises(ConfigError, match="no such setting"):
        load_settings(environment={"COLLECTOR_DATABASE__UURL_FILE": "/x"})


def test_an_empty_file_is_no_value(tmp_path):
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match=r"COLLECTOR_DATABASE__URL_FILE .*empty is empty; fill it or remove the name"):
        load_settings(environment={"COLLECTOR_DATABASE__URL_FILE": str(tmp_path / "empty")})


def test_the_short_form_of_a_target_may_stand_in_a_file_too(tmp_path):
    (tmp_path / "hook").write_text("jsons://host.example.org/path\n")
    names = {"COLLECTOR_ALERTS__TARGETS__HOOK_FILE": str(tmp_path / "hook")}
    settings, _ = load_settings(environment=names)
    assert settings.alerts.addresses() == {"hook": "jsons://host.example.org/path"}

"""Where settings come from, who wins, and what is refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from zun_coe.config import ConfigError, Settings, load


def file(folder: Path, text: str) -> Path:
    path = folder / "zun-coe.toml"
    path.write_text(text)
    return path


def test_nothing_given_means_defaults() -> None:
    assert load(environment={}) == Settings()


def test_command_line_wins_over_environment_over_file(tmp_path: Path) -> None:
    settings = load(
        file=file(tmp_path, 'listen = "file"\nstore = "file"\nworkers = 7\n'),
        environment={"ZUN_COE_STORE": "environment", "ZUN_COE_LISTEN": "environment"},
        command_line={"listen": "line"},
    )
    assert (settings.listen, settings.store, settings.workers) == ("line", "environment", 7)


def test_option_that_was_not_given_wins_over_nothing() -> None:
    assert load(environment={"ZUN_COE_LISTEN": "e"}, command_line={"listen": None}).listen == "e"


def test_text_of_the_environment_becomes_what_the_setting_is() -> None:
    environment = {
        "ZUN_COE_WORKERS": "9",
        "ZUN_COE_RESYNC": "2.5",
        "ZUN_COE_ALLOW_BIND": "true",
        "ZUN_COE_ADMIN_BIND": "0",
        "ZUN_COE_LOG_LEVEL": "debug",
    }
    settings = load(environment=environment)
    assert (settings.workers, settings.resync, settings.allow_bind, settings.admin_bind, settings.log_level) == (
        9,
        2.5,
        True,
        False,
        "debug",
    )


def test_foreign_variables_are_left_alone() -> None:
    assert load(environment={"ZUN_COE_API_URL": "http://x", "PATH": "/bin", "LISTEN": "x"}) == Settings()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("workers = ", "cannot be read"),
        ("wokers = 3", r"'wokers', which is no setting; did you mean workers\?"),
        ("zzzzzz = 3", "'zzzzzz', which is no setting; zun-coe serve --help lists all"),
        ('workers = "many"', "workers to 'many': it must be a whole number"),
        ("workers = 1.5", "workers to 1.5: it must be a whole number"),
        ("listen = 9517", "listen to 9517: it must be text, in quotation marks"),
        ("allow_bind = 'maybe'", "allow_bind to 'maybe': it must be true or false"),
        ("[workers]\na = 1", "workers"),
        ("workers = 0", "workers to 0: it must be at least 1"),
        ("max_wait = -1", "max_wait to -1: it must be at least 0"),
        ("resync = nan", "resync"),
        ("resync = inf", "resync"),
        ("lease = 2", "at least 5"),
    ],
)
def test_bad_file_is_refused_by_name(tmp_path: Path, text: str, sentence: str) -> None:
    path = file(tmp_path, text)
    with pytest.raises(ConfigError, match=sentence) as caught:
        load(file=path, environment={})
    assert str(path) in str(caught.value)


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(file=tmp_path / "absent.toml", environment={})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ZUN_COE_STOR", "ZUN_COE_STORE"),
        ("ZUN_COE_ENCRYPTION_KEY", "ZUN_COE_ENCRYPTION_KEYS"),
        ("ZUN_COE_LOGLEVEL", "ZUN_COE_LOG_LEVEL"),
        ("ZUN_COE_ENDPIONT", "ZUN_COE_ENDPOINT"),
    ],
)
def test_a_variable_that_is_nearly_a_setting_is_refused(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"sets {name}, which is no setting; did you mean {meant}\?"):
        load(environment={name: "x"})


@pytest.mark.parametrize(
    "name",
    [
        *("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_9517_TCP", "PORT_9517_TCP_ADDR"),
        *("API_PORT", "ENGINE_SERVICE_HOST", "TOKEN", "PROJECT", "ROLES", "ENDPOINT", "IMAGE"),
    ],
)
def test_what_kubernetes_and_users_set_is_no_setting(name: str) -> None:
    assert load(environment={f"ZUN_COE_{name}": "tcp://10.0.0.1:9517"}) == Settings()


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "zun-coe.toml"
    path.write_bytes(b'listen = "\xff"')
    with pytest.raises(ConfigError, match="cannot be read"):
        load(file=path)


def test_bad_variable_and_option_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"environment sets resync to 'soon'"):
        load(environment={"ZUN_COE_RESYNC": "soon"})
    with pytest.raises(ConfigError, match=r"command line sets 'lisen'"):
        load(environment={}, command_line={"lisen": "x"})


def test_settings_are_frozen_and_of_plain_types() -> None:
    with pytest.raises(AttributeError):
        Settings().workers = 1  # type: ignore[misc]  # that it cannot be set is what is tested
    assert {str(f.type) for f in fields(Settings)} <= {"str", "bool", "int", "float"}

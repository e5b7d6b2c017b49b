"""What a line of the log looks like."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from zun_coe.cli.recording import record
from zun_coe.config import ConfigError, Settings


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = structlog.get_config()
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def told(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_json_has_what_was_bound_and_a_time_with_its_zone(capsys: pytest.CaptureFixture[str]) -> None:
    record(Settings(log_format="json"))
    with structlog.contextvars.bound_contextvars(request_id="req-1"):
        structlog.get_logger("a").info("request", path="/v1/apps", status=200)
    (line,) = told(capsys)
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo == UTC
    assert line == {"event": "request", "level": "info", "request_id": "req-1", "path": "/v1/apps", "status": 200}


def test_whatever_is_told_becomes_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    record(Settings(log_format="json"))
    structlog.get_logger("b").warning(
        "odd", value={1, 2}.__class__, text="\udcff", moment=datetime(2026, 1, 1, tzinfo=UTC)
    )
    (line,) = told(capsys)
    assert line["text"] == "\udcff"
    assert "set" in line["value"]


def test_libraries_tell_of_trouble_only(capsys: pytest.CaptureFixture[str]) -> None:
    record(Settings(log_format="json"))
    logging.getLogger("library").info("nothing")
    logging.getLogger("library").warning("trouble with %s", "it")
    assert [line["event"] for line in told(capsys)] == ["trouble with it"]


def test_less_than_the_level_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    record(Settings(log_format="json", log_level="warning"))
    log = structlog.get_logger("c")
    log.info("nothing")
    log.error("something")
    assert [line["event"] for line in told(capsys)] == ["something"]


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    record(Settings(log_format=format))
    secret = "hush-hush"
    try:
        raise ValueError(f"{len(secret)} characters")
    except ValueError:
        structlog.get_logger("d").exception("failed")
    err = capsys.readouterr().err
    assert "9 characters" in err
    assert "hush-hush" not in err


@pytest.mark.parametrize("wrong", [{"log_level": "loud"}, {"log_format": "xml"}])
def test_unknown_settings_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="is not known: use"):
        record(Settings(**wrong))

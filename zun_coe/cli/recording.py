"""Where a serving process writes its log: on stderr, in lines for people or in JSON for programs."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

import msgspec
import structlog

from zun_coe.config import ConfigError, Settings

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FORMATS = ("console", "json")


class _Logger(structlog.make_filtering_bound_logger(logging.DEBUG)):  # type: ignore[misc]  # a base that is made
    """Tells what is of the level in force, which may change: structlog's own loggers keep that of their first use."""

    least = logging.INFO

    def _proxy_to_logger(self, method_name: str, event: str | None = None, **more: Any) -> Any:
        if LEVELS.get(method_name, logging.CRITICAL) < _Logger.least:
            return None
        return super()._proxy_to_logger(method_name, event, **more)


class _Stderr:
    """The standard error. That nobody reads it any more, or that its terminal is gone, is no reason to fail."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def level_of(settings: Settings) -> int:
    """The level of the log. Raises `ConfigError`."""
    level = LEVELS.get(settings.log_level)
    if level is None:
        raise ConfigError(f"log_level = {settings.log_level!r} is not known: use {', '.join(LEVELS)}.")
    return level


def set_level(level: int) -> None:
    """Tell from now on what is of this level, or above."""
    _Logger.least = level


def record(settings: Settings) -> None:
    """Set up the log of this process, that of the libraries included. Raises `ConfigError`."""
    set_level(level_of(settings))
    if settings.log_format not in FORMATS:
        raise ConfigError(f"log_format = {settings.log_format!r} is not known: use {', '.join(FORMATS)}.")
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers = _renderers(settings.log_format)
    structlog.configure(
        processors=[*shared, structlog.processors.StackInfoRenderer(), *renderers],
        wrapper_class=_Logger,
        logger_factory=structlog.WriteLoggerFactory(
            file=cast(TextIO, _Stderr())
        ),  # a line for each request: it must be quick
        cache_logger_on_first_use=True,
    )
    _libraries(shared, renderers)


def _renderers(format: str) -> list[Any]:
    if format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
    # Plain, since others show local variables, and those may be secrets.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def _json(event: Any, **_: Any) -> str:
    """Whatever is in it: what has no JSON form is shown as its text, and what is no proper text is escaped."""
    try:
        return msgspec.json.encode(event, enc_hook=str).decode()
    except UnicodeEncodeError:
        return json.dumps(event, default=str)


def _libraries(shared: list[Any], renderers: list[Any]) -> None:
    """The standard library's log, through which libraries tell of trouble only."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )
    handler = logging.StreamHandler(cast(TextIO, _Stderr()))
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)

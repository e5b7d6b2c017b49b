"""Where a serving process writes its log: on stderr, in lines for people or in JSON for programs."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import msgspec
import structlog

from zun_coe.config import ConfigError, Settings

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FORMATS = ("console", "json")


def record(settings: Settings) -> None:
    """Set up the log of this process, that of the libraries included. Raises `ConfigError`."""
    level = LEVELS.get(settings.log_level)
    if level is None:
        raise ConfigError(f"log_level = {settings.log_level!r} is not known: use {', '.join(LEVELS)}.")
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
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),  # a line for each request: it must be quick
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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)

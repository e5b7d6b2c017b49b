"""Where a serving process writes its log: on stderr, in lines for people or in JSON for programs."""

from __future__ import annotations

import logging
import sys
from typing import Any

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
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    _libraries(level, shared, _renderers(settings.log_format))


def _renderers(format: str) -> list[Any]:
    if format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    # Plain, since others show local variables, and those may be secrets.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def _libraries(level: int, shared: list[Any], renderers: list[Any]) -> None:
    """The root of the standard library's log, through which ours goes as well. Libraries tell of trouble only."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("zun_coe").setLevel(level)

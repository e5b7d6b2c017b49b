"""How a command can end badly, and the exit code that tells scripts so.

Failure
├── Refusal    1   the service said no (5 when it said that it can't)
├── Misuse     2   what was typed can't be meant
├── Unwell     3   what was waited for has ended badly
├── TimeUp     4   what was waited for has not ended in time
└── Away       5   the service can't be reached"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXIT_CODES = """\b
Exit codes:
  0    done
  1    the service refused it
  2    the command line or the configuration is wrong
  3    what was waited for ended as Failed or Degraded, its rollout failed, or something holds it up
  4    the time for waiting ran out
  5    the service or a cluster is away
  130  interrupted"""


class Failure(Exception):
    """A command could not do what it was asked for. The text is a sentence or a few."""

    exit_code = 1


class Misuse(Failure):
    """What was typed, or a file that it names, can't be meant."""

    exit_code = 2


class Unwell(Failure):
    """It was waited for, and it ended badly."""

    exit_code = 3


class TimeUp(Failure):
    """It was waited for in vain."""

    exit_code = 4


class Away(Failure):
    """The service can't be reached, or does not answer."""

    exit_code = 5


class Refusal(Failure):
    """The service answered with a problem. `problem`: the body (RFC 9457), as it was sent. `called`: what the fields
    that its pointers lead to are called on the command line."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or "The service refused it."))
        self.problem = problem
        self.status = int(problem.get("status", 500))
        self.exit_code = 5 if self.status >= 500 else 1
        self.called: Mapping[str, str] = {}

    @property
    def pointers(self) -> list[str]:
        """The fields that are wrong."""
        return [str(error.get("pointer")) for error in self.problem.get("errors") or ()]

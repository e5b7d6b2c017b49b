"""What a simulated process does: enough of a shell that a test's command means the same here as for real."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template as Text

FOREVER = float("inf")


@dataclass(frozen=True)
class Image:
    """An image as the simulated registry has it. `missing`: not to be had; `pull`: seconds until it is
    there; `ready` False: what runs from it never gets ready; `command`: run when nothing else is said."""

    missing: bool = False
    pull: float = 0.0
    ready: bool = True
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    """What a process prints, as (seconds after its start, line), and when it ends with which code."""

    lines: tuple[tuple[float, str], ...] = ()
    ends: float = FOREVER
    exit_code: int = 0


def program_of(arguments: Sequence[str], env: Mapping[str, str]) -> Program:
    """What a command does. Known: sh -c with echo, sleep, exit, true, false, and each of those by itself.
    Anything else runs for ever and prints nothing."""
    match list(arguments):
        case ["sh" | "/bin/sh", "-c", script]:
            return _script(script, env)
        case [("echo" | "sleep" | "true" | "false") as name, *rest]:
            return _script(" ".join([name, *rest]), env)
    return Program()


def _script(script: str, env: Mapping[str, str]) -> Program:
    lines: list[tuple[float, str]] = []
    now, code = 0.0, 0
    for statement in re.split(r"[;\n]|&&", script):
        name, _, rest = statement.strip().removeprefix("exec ").partition(" ")
        match name:
            case "":
                continue
            case "echo":
                lines.append((now, Text(rest.strip("\"'")).safe_substitute(env)))
            case "sleep":
                now += float(rest)
            case "exit":
                return Program(tuple(lines), now, int(rest or code))
            case "true" | "false":
                code = int(name == "false")
            case _:
                return Program(tuple(lines))
    return Program(tuple(lines), now, code)


def refusal(command: Sequence[str], user: str | None) -> str | None:
    """What the node says of a command that it cannot start at all; None where it can."""
    if command and command[0].startswith("/no/such/"):
        return f"exec: {command[0]}: no such file or directory"
    return "unable to find user nobodyatall" if user == "nobodyatall" else None


def passes(check: Sequence[str]) -> bool:
    """Whether a health check's command ends with 0, told by its words alone."""
    return not re.search(r"\bfalse\b|\bexit [1-9]", " ".join(check))

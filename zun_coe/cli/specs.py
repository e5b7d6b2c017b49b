"""From the flags of a command to the JSON that the service takes. Pure.

A `Flag` says how a value is written on the command line and where in the body it goes; the options of
`create` and `update` are made from these, for apps and containers alike. A value that can't be read is a
`ValueError` with a sentence for the person who typed it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

_PORT = re.compile(r"(?:(?P<name>[^=]+)=)?(?P<port>\d+)(?::(?P<publish>\d+|auto))?(?:/(?P<protocol>tcp|udp))?")
_PROBES = ("http", "tcp", "exec")
_HOST = "Write name=a,endpoint=tcp://10.0.0.4:2376,address=10.0.0.4"


def number(text: str) -> int | float:
    """ "2" → 2, "0.5" → 0.5."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None
    if value in (float("inf"), float("-inf")) or value != value:
        raise ValueError(f"{text!r} is no number")
    return int(value) if value.is_integer() else value


def whole(text: str) -> int:
    """ "3" → 3."""
    if not re.fullmatch(r"-?[0-9]+", text):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def within(read: Callable[[str], Any], what: str, least: float, most: float | None = None) -> Callable[[str], Any]:
    """Reads `what`, which is a number of a range."""
    told = f"{what} from {least:g} to {most:g}" if most is not None else f"{what}, {least:g} or more"

    def value(text: str) -> Any:
        try:
            found = read(text)
        except ValueError:
            found = None
        if found is None or not least <= found <= (float("inf") if most is None else most):
            raise ValueError(f"{text!r} is not {told}")
        return found

    return value


def count_or_share(text: str) -> int | str:
    """ "1" → 1, "25%" → "25%"."""
    return text if text.endswith("%") else whole(text)


def port(text: str) -> dict[str, Any]:
    """ "80", "80:8080", "80:auto", "53/udp", "http=80:auto/tcp" → an entry of `ports`."""
    found = _PORT.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no port: write 80, 80:8080, 80:auto, 53/udp or web=80:auto")
    name, number, publish, protocol = found.group("name", "port", "publish", "protocol")
    entry: dict[str, Any] = {"port": int(number)}
    if protocol:
        entry["protocol"] = protocol
    if name:
        entry["name"] = name
    if publish:
        entry["publish"] = publish if publish == "auto" else int(publish)
    return entry


def pair(text: str) -> tuple[str, str | None]:
    """ "K=V" → (K, V); "K-" → (K, None), which takes K away."""
    key, equals, value = text.partition("=")
    if equals and key:
        return key, value
    if not equals and len(text) > 1 and text.endswith("-"):
        return text[:-1], None
    raise ValueError(f"{text!r} is no KEY=VALUE (nor KEY-, to take one away)")


def words(text: str) -> list[str]:
    """A command as a shell would split it: 'sh -c "echo 1"' → ["sh", "-c", "echo 1"]."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{text!r} can't be split into words: {error}") from None


def http_probe(text: str) -> dict[str, Any]:
    """ "80" or "80/health" → what to GET."""
    port, slash, path = text.partition("/")
    return {"port": whole(port)} | ({"path": f"/{path}"} if slash else {})


def tcp_probe(text: str) -> dict[str, Any]:
    """ "5432" → where to connect."""
    return {"port": whole(text)}


def exec_probe(text: str) -> dict[str, Any]:
    """ "test -f /ready" → what to run."""
    return {"command": words(text)}


def mount(text: str) -> dict[str, Any]:
    """ "volume=data,path=/data", "bind=/srv,path=/srv,ro", "tmpfs=64Mi,path=/tmp" → an entry of `mounts`."""
    given: dict[str, str | None] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        given[key] = value if equals else None
    allowed = {"path", "ro", "volume", "bind", "tmpfs", "size", "class"}
    if unknown := sorted(set(given) - allowed):
        raise _no_mount(text, f"has {unknown[0]!r}; there are {', '.join(sorted(allowed))}")
    if len([k for k in ("volume", "bind", "tmpfs") if k in given]) != 1:
        raise _no_mount(text, "needs exactly one of volume=NAME, bind=PATH and tmpfs[=SIZE]")
    return _mount(text, given)


def _no_mount(text: str, why: str) -> ValueError:
    """With one of each sort."""
    return ValueError(f"{text!r} {why}. Write volume=data,path=/data or bind=/srv,path=/srv,ro or tmpfs=64Mi,path=/tmp")


def _mount(text: str, given: Mapping[str, str | None]) -> dict[str, Any]:
    if not given.get("path"):
        raise _no_mount(text, "needs path=PATH, where it is mounted")
    if empty := [k for k in ("volume", "bind", "size", "class") if k in given and not given[k]]:
        raise _no_mount(text, f"needs a value for {empty[0]}")
    if "volume" not in given and ("size" in given or "class" in given):
        raise _no_mount(text, "has a size or a class, which are for volumes")
    entry: dict[str, Any] = {"path": given["path"]}
    if "ro" in given:
        entry["read_only"] = given["ro"] not in ("false", "no", "0")
    if "volume" in given:
        entry["volume"] = {"name": given["volume"]} | {k: given[k] for k in ("size", "class") if k in given}
    elif "bind" in given:
        entry["bind"] = given["bind"]
    else:
        entry["tmpfs"] = {"size": given["tmpfs"]} if given["tmpfs"] else {}
    return entry


def host(text: str) -> dict[str, Any]:
    """ "name=a,endpoint=unix:///var/run/docker.sock,address=10.0.0.4,label.disk=ssd" → an entry of `hosts`."""
    entry: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if key in ("name", "runtime", "endpoint", "address") and value:
            entry[key] = value
        elif key.startswith("label.") and equals:
            entry.setdefault("labels", {})[key.removeprefix("label.")] = value
        elif key == "drained" and not equals:
            entry["schedulable"] = False
        else:
            known = "name=, runtime=, endpoint=, address=, label.KEY= and drained"
            raise ValueError(f"{part!r} says nothing about a host; there are {known}. {_HOST}")
    if "name" not in entry:
        raise ValueError(f"{text!r} needs name=NAME. {_HOST}")
    return entry


def etag(text: str) -> str:
    """A generation, or an ETag as the service gives it: 4 → "4" in quotes; * is any."""
    return f'"{text}"' if text.isdigit() else text


@dataclass(frozen=True)
class Flag:
    """One option, and where in the body its value goes. `many`: `one` value; a `list` of them, in order; a
    `map` of pairs; a `switch`, which is on or off."""

    option: str
    path: tuple[str, ...]
    meaning: str
    read: Callable[[str], Any] = str
    metavar: str = "TEXT"
    many: Literal["one", "list", "map", "switch"] = "one"
    choices: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Its name among the values: `--env-secret` → env_secret."""
        return self.option.removeprefix("--").replace("-", "_")


CONTAINER_FLAGS: tuple[Flag, ...] = (
    Flag("--image", ("image",), "The image to run."),
    Flag("--cluster", ("cluster",), "Where to run it; needed when there are several.", metavar="NAME"),
    Flag("--label", ("labels",), "A label to find it by.", pair, "KEY=VALUE", "map"),
    Flag("--command", ("command",), "What to run instead of the image's entrypoint.", words, "WORDS"),
    Flag("--arg", ("args",), "An argument.", str, "TEXT", "list"),
    Flag("--env", ("env",), "An environment variable.", pair, "KEY=VALUE", "map"),
    Flag("--env-secret", ("env_secrets",), "A variable from a secret.", pair, "KEY=SECRET/KEY", "map"),
    Flag("--port", ("ports",), "A port: 80, 80:8080, 80:auto, 53/udp, web=80:auto.", port, "PORT[:PUBLISH]", "list"),
    Flag("--mount", ("mounts",), "volume=NAME|bind=PATH|tmpfs[=SIZE] with path=PATH[,ro].", mount, "MOUNT", "list"),
    Flag("--cpu", ("cpu",), "CPUs that it may use, such as 0.5.", number, "NUMBER"),
    Flag("--memory", ("memory",), "Memory that it may use, such as 128Mi.", metavar="SIZE"),
    Flag("--gpu", ("gpu",), "GPUs that it gets.", whole, "N"),
    Flag("--health-http", ("health", "http"), "Healthy when GET answers: 80 or 80/path.", http_probe, "PORT[/PATH]"),
    Flag("--health-tcp", ("health", "tcp"), "Healthy when this port takes connections.", tcp_probe, "PORT"),
    Flag("--health-exec", ("health", "exec"), "Healthy when this command exits with 0.", exec_probe, "WORDS"),
    Flag("--health-interval", ("health", "interval"), "Seconds from probe to probe.", number, "SECONDS"),
    Flag("--health-timeout", ("health", "timeout"), "Seconds until a probe counts as failed.", number, "SECONDS"),
    Flag("--health-retries", ("health", "retries"), "Failures in a row until it is unhealthy.", whole, "N"),
    Flag("--health-start-period", ("health", "start_period"), "Seconds in which failures don't count.", number, "N"),
    Flag("--workdir", ("workdir",), "The directory to start in.", metavar="PATH"),
    Flag("--user", ("user",), "Who to run as.", metavar="USER[:GROUP]"),
    Flag("--hostname", ("hostname",), "The name that it has for itself.", metavar="NAME"),
    Flag("--tty", ("tty",), "Whether it gets a terminal.", many="switch"),
    Flag("--stdin", ("stdin",), "Whether its standard input is kept open.", many="switch"),
    Flag("--network", ("networks",), "A network to join.", str, "NAME", "list"),
    Flag("--pull", ("pull",), "When to fetch the image.", choices=("always", "missing", "never")),
    Flag("--image-auth", ("image_auth",), "The secret with the registry's login.", metavar="SECRET"),
    Flag("--restart", ("restart",), "When its process ends.", choices=("always", "on_failure", "never")),
    Flag("--stop-signal", ("stop_signal",), "What asks it to end.", metavar="SIGNAL"),
    Flag("--stop-timeout", ("stop_timeout",), "Seconds until it is killed.", whole, "SECONDS"),
    Flag("--accept-loss", ("accept_loss",), "A field that may be lost, such as /gpu.", str, "POINTER", "list"),
)
APP_FLAGS: tuple[Flag, ...] = (
    Flag("--replicas", ("replicas",), "How many to keep running.", whole, "N"),
    *CONTAINER_FLAGS,
    Flag("--strategy", ("update", "strategy"), "How to replace replicas.", choices=("rolling", "recreate")),
    Flag("--max-surge", ("update", "max_surge"), "Replicas above the number meanwhile.", count_or_share, "N|N%"),
    Flag("--max-unavailable", ("update", "max_unavailable"), "Replicas missing meanwhile.", count_or_share, "N|N%"),
    Flag("--min-ready", ("update", "min_ready"), "Seconds that a replica must be ready.", whole, "SECONDS"),
    Flag("--deadline", ("update", "deadline"), "Seconds without progress until it has failed.", whole, "SECONDS"),
    Flag("--paused", ("update", "paused"), "Whether to replace nothing for now.", many="switch"),
    Flag("--on-failure", ("update", "on_failure"), "When it fails.", choices=("pause", "rollback", "continue")),
    Flag("--constraint", ("placement", "constraints"), "A label that a node must have.", pair, "KEY=VALUE", "map"),
    Flag("--spread", ("placement", "spread"), "The label to spread over.", metavar="LABEL"),
)
CHANGEABLE = tuple(f for f in CONTAINER_FLAGS if f.option in ("--label", "--cpu", "--memory", "--accept-loss"))
"""What can change of a container."""


def body_of(
    flags: Iterable[Flag], values: Mapping[str, Any], tail: Sequence[str] = (), *, patch: bool = False
) -> dict[str, Any]:
    """The body that the values say, by the flags' keys; None and empty ones were not given. `tail`: a command
    and its arguments. With `patch` a merge patch, in which null takes away. Raises `ValueError`."""
    body: dict[str, Any] = {}
    for flag in flags:
        value = values.get(flag.key)
        if value is not None and value != ():
            body = merge(body, _at(flag.path, _gathered(flag, value, patch)))
    body = merge(body, _run(tail, values, patch))
    return merge(body, _only_probe(body.get("health", {}), patch))


def option_of(flags: Iterable[Flag], pointer: str) -> str | None:
    """The option that sets what a pointer leads to: "/ports/0/port" → "--port"; None where there is none."""
    path = tuple(pointer.strip("/").split("/"))
    fitting = [flag for flag in flags if path[: len(flag.path)] == flag.path]
    return max(fitting, key=lambda flag: len(flag.path)).option if fitting else None


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both; where both say something, `over` wins. Objects are merged, all else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both and isinstance(old, Mapping) else value
    return merged


def unset(fields: Iterable[str]) -> dict[str, Any]:
    """The merge patch that takes fields back to their defaults: "health", "update.deadline" or "/update/deadline"."""
    body: dict[str, Any] = {}
    for field in fields:
        path = tuple(part for part in re.split(r"[./]", field) if part)
        if not path:
            raise ValueError(f"{field!r} names no field")
        body = merge(body, _at(path, None))
    return body


def _at(path: Sequence[str], value: Any) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    body: dict[str, Any] = value
    return body


def _gathered(flag: Flag, value: Any, patch: bool) -> Any:
    if flag.many == "list":
        return list(value)
    if flag.many != "map":
        return value
    pairs = dict(value)
    gone = [key for key, text in pairs.items() if text is None]
    if gone and not patch:
        raise ValueError(f"{flag.option} {gone[0]}- takes something away, and there is nothing yet")
    return pairs


def _run(tail: Sequence[str], values: Mapping[str, Any], patch: bool) -> dict[str, Any]:
    if not tail:
        return {}
    if values.get("command") or values.get("arg"):
        raise ValueError("the command stands behind -- or in --command and --arg, not in both")
    command, *args = tail
    return {"command": [command]} | ({"args": args} if args else {"args": None} if patch else {})


def _only_probe(health: Mapping[str, Any], patch: bool) -> dict[str, Any]:
    """A merge patch that brings a probe takes the others away."""
    given = [kind for kind in _PROBES if kind in health]
    if len(given) > 1:
        raise ValueError(f"--health-{given[0]} and --health-{given[1]} exclude each other")
    if not patch or not given:
        return {}
    return {"health": {kind: None for kind in _PROBES if kind not in given}}

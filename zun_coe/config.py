"""Settings of one gateway process: defaults < file (TOML) < ZUN_COE_* environment < command line."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from ipaddress import IPv4Network
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

PREFIX = "ZUN_COE_"
_OF_USERS = ("endpoint", "token", "project", "roles")
"""What the user's commands take from the environment."""
# What Kubernetes puts there for a Service: NAME_SERVICE_HOST, NAME_PORT, NAME_PORT_80_TCP_ADDR and the like.
_LINK = re.compile(r"ZUN_COE_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
# Settings with few values; empty: none of them.
_KINDS: Mapping[str, str] = {
    "str": 'must be text, in quotation marks in a file, such as "9517"',
    "bool": "must be true or false",
    "int": "must be a whole number",
    "float": "must be a number",
}
_CHOICES: Mapping[str, tuple[str, ...]] = {"pod_security": ("", "privileged", "baseline", "restricted")}
# What makes no sense below; everything else that is a number is 0 or more.
_LEAST: Mapping[str, float] = {
    **dict.fromkeys(
        (
            "max_body",
            "max_depth",
            "max_streams",
            "max_streams_per_project",
            "backend_threads",
            "backend_threads_per_cluster",
            "backend_threads_per_project",
            "threads",
            "workers",
            "parallelism",
            "revisions",
        ),
        1,
    ),
    **dict.fromkeys(("backend_timeout", "pull_timeout", "resync", "describe", "backoff", "max_backoff"), 0.01),
    "lease": 5,
}


class ConfigError(Exception):
    """A setting that is unknown or has a wrong value; the message names it and where it came from."""


@dataclass(frozen=True)
class Settings:
    """Everything an operator can set. Times are seconds, sizes bytes."""

    listen: str = "127.0.0.1:9517"
    """Where the REST service listens: ADDRESS:PORT, a bare PORT of the loopback interface, or unix:PATH. All addresses
    are 0.0.0.0:PORT or [::]:PORT. Anything but loopback wants TLS in front of it."""
    store: str = "sqlite:////var/lib/zun-coe/state.db"
    """Where the state is: sqlite:///FILE (one process) or etcd://HOST:PORT[,HOST:PORT...] (any number), with
    USER:PASSWORD@ in front of the hosts where etcd has authentication (?password_file=FILE keeps the password out of
    here), and with etcds:// and ?ca=FILE&cert=FILE&key=FILE for TLS."""
    machine: str = ""
    """What this machine is called: a cluster with local sockets belongs to the machine where it was registered.
    Empty: its host name, which must stay the same then. Of no importance with SQLite."""
    encryption_keys: str = ""
    """Fernet keys for credentials and secrets, separated by commas, the newest first; the others only decrypt.
    Empty: a key file beside the SQLite file, made at the first start. Needed with etcd."""
    auth: str = "none"
    """Who may call: `none` (everybody is the admin of the project `default`)."""
    allow_unauthenticated: bool = False
    """With `auth = none`: whether to listen where other machines reach it, all of whose users are admins then. For
    gateways with something in front of them that decides who may call."""
    dev_headers: bool = False
    """With `auth = none`: X-Zun-Project, X-Zun-User and X-Zun-Roles choose the caller. For development only."""
    allow_bind: bool = False
    """Policy: whether `mounts[].bind` may be used by everybody (admins always may when `admin_bind`)."""
    admin_bind: bool = True
    """Policy: whether admins may use `mounts[].bind`."""
    allow_host_network: bool = False
    """Policy: whether `networks: ["host"]` may be used."""
    allowed_networks: str = ""
    """Policy: loopback and link-local networks, and addresses of clouds' metadata services, where clusters of everybody
    may be, such as 127.0.0.0/8, separated by commas. Without, only admins register such addresses, and no name of
    others may lead to them."""
    pids_limit: int = 4096
    """Policy: the most processes and threads in one container on a host, for those created from now on. 0: no
    limit. On Kubernetes its kubelets decide."""
    no_new_privileges: bool = False
    """Policy: whether processes in containers on hosts are kept from gaining privileges, as `sudo` does."""
    drop_capabilities: str = ""
    """Policy: capabilities that containers on hosts do not get, separated by commas, such as NET_RAW; or ALL."""
    always_pull_images: bool = False
    """Policy: whether hosts ask the registry, with the login of the project, before each use of an image that they
    have. For hosts that projects share: a private image that one project pulled is then of no use to others."""
    pod_security: str = ""
    """Policy: the Pod Security Standard that the gateway's namespaces on Kubernetes enforce: privileged, baseline or
    restricted. Empty: their labels are left to others. With restricted an app that ran before is changed with its next
    rollout."""
    allow_in_cluster: bool = False
    """Policy: whether admins may register the Kubernetes that the gateway runs in by `credentials.in_cluster`: with the
    service account of its own pod, whose token is read anew as it changes."""
    exec_plugins: str = ""
    """Policy: the commands that an admin's kubeconfig may name to get credentials (client-go credential plugins),
    separated by commas, each exactly as the kubeconfig has it. They run as the gateway. Empty: none."""
    max_body: int = 1 << 20
    """The largest request body."""
    max_depth: int = 32
    """The deepest nesting of a JSON body."""
    max_wait: float = 300.0
    """The longest `?wait`."""
    max_streams: int = 2000
    """The most event and log streams that are open at once in this process."""
    max_streams_per_project: int = 500
    """How many of them one project may have open."""
    threads: int = 32
    """Threads that serve plain requests."""
    backend_threads: int = 32
    """Threads that serve requests for which a cluster is asked: signals to containers, what else runs there, adoption.
    When all are busy the answer is 503."""
    backend_threads_per_cluster: int = 4
    """How many of them one cluster may keep busy."""
    backend_threads_per_project: int = 8
    """How many of them the requests of one project may keep busy."""
    backend_timeout: float = 15.0
    """The deadline of one call to a backend."""
    pull_timeout: float = 900.0
    """The deadline of pulling one image."""
    workers: int = 4
    """Reconciles of one project that run at once in each cluster. Half as many more are there for other projects."""
    parallelism: int = 8
    """Calls that one step makes at once to one host."""
    resync: float = 30.0
    """How often everything in a cluster is compared with what is wanted, whatever was heard meanwhile."""
    describe: float = 60.0
    """How often a cluster is asked to describe itself."""
    host_grace: float = 60.0
    """How long a host may be away before its replicas are placed elsewhere."""
    network_pool: str = "10.213.0.0/16"
    """Out of which addresses the networks of projects on hosts get their subnets, of those that neither a network of
    the host nor a route of the gateway's machine has. Empty: each host's engine chooses."""
    network_prefix: int = 24
    """How large each of those subnets is: with 24 bits a project has up to 253 containers on each host, with 26 up to
    61. Networks that are there keep theirs."""
    lease: float = 10.0
    """The time of an engine's lease on its clusters (5 or more)."""
    backoff: float = 1.0
    """The least delay after a failure, which no event of a cluster shortens; it doubles, with jitter."""
    max_backoff: float = 60.0
    """The longest delay after a failure."""
    event_age: float = 7 * 86400.0
    """How long events are kept."""
    event_count: int = 100_000
    """How many events of a project are kept."""
    compaction_age: float = 600.0
    """After how long revisions of the store that were overwritten are forgotten. An etcd is compacted for everybody
    who uses it: 0 leaves that to its operator."""
    event_window: float = 600.0
    """Equal events that follow each other within this time become one, which counts them. 0: none do."""
    idempotency_age: float = 86400.0
    """How long the answer to an Idempotency-Key is kept."""
    revisions: int = 10
    """How many revisions of an app are kept, besides those that run or that it may go back to by itself."""
    log_level: str = "info"
    """debug, info, warning or error."""
    log_format: str = "console"
    """`console` for people, `json` for programs."""

    @property
    def capabilities_to_drop(self) -> tuple[str, ...]:
        """The names in `drop_capabilities`, without CAP_, which engines of all versions take."""
        names = (name.strip().upper().removeprefix("CAP_") for name in self.drop_capabilities.split(","))
        return tuple(name for name in names if name)

    @property
    def exec_commands(self) -> frozenset[str]:
        """The commands in `exec_plugins`."""
        return frozenset(filter(None, (name.strip() for name in self.exec_plugins.split(","))))

    @property
    def here(self) -> str | None:
        """What this machine is called; None: the store is its own, so that there is no other."""
        if self.machine or self.store.startswith("sqlite:"):
            return self.machine or None
        return socket.gethostname()


def without_password(url: str) -> str:
    """The URL of a store as it may be shown."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def load(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    command_line: Mapping[str, Any] = MappingProxyType({}),
) -> Settings:
    """The settings in force. Raises `ConfigError` for what is unknown or of the wrong type."""
    values: dict[str, Any] = {}
    if file is not None:
        values |= _typed(_from_file(file), str(file))
    must_be_meant(environment)
    named = {k.removeprefix(PREFIX).lower(): v for k, v in environment.items() if k.startswith(PREFIX)}
    known = {f.name for f in fields(Settings)}
    values |= _typed({k: v for k, v in named.items() if k in known}, "the environment")
    values |= _typed({k: v for k, v in command_line.items() if v is not None}, "the command line")
    settings = Settings(**values)
    _check_pool(settings)
    return settings


def must_be_meant(environment: Mapping[str, str]) -> None:
    """Raises `ConfigError` for a variable that is nearly a setting's, or one of the command line's: it is mistyped,
    and what it says would be ignored. Others may be anybody's, such as those that Kubernetes makes for a Service that
    is called zun-coe."""
    known = [PREFIX + name.upper() for name in (*(f.name for f in fields(Settings)), *_OF_USERS)]
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in known or _LINK.fullmatch(name):
            continue
        if close := get_close_matches(name.removeprefix(PREFIX), [k.removeprefix(PREFIX) for k in known], 1, 0.8):
            raise ConfigError(f"the environment sets {name}, which is no setting; did you mean {PREFIX}{close[0]}?")


def _check_pool(settings: Settings) -> None:
    """Subnets have at least 8 addresses: those of the network, of the host and for broadcasts are no container's."""
    if not settings.network_pool:
        return
    try:
        pool = IPv4Network(settings.network_pool)
    except ValueError as error:
        told = f"network_pool is an IPv4 network such as 10.213.0.0/16, and {settings.network_pool!r} is none: {error}"
        raise ConfigError(told) from error
    if not pool.prefixlen <= settings.network_prefix <= 29:
        told = f"network_prefix is {pool.prefixlen} (the whole network_pool) to 29, not {settings.network_prefix}"
        raise ConfigError(told)


def _from_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error


def _typed(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    types = {f.name: f.type for f in fields(Settings)}
    typed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in types:
            close = get_close_matches(name, types, n=1)
            meant = f"; did you mean {close[0]}?" if close else "; zun-coe serve --help lists all"
            raise ConfigError(f"{source} sets {name!r}, which is no setting{meant}")
        try:
            typed[name] = msgspec.convert(
                value,
                type={"str": str, "bool": bool, "int": int, "float": float}[str(types[name])],
                strict=False,
            )
        except msgspec.ValidationError as error:
            raise ConfigError(f"{source} sets {name} to {value!r}: it {_KINDS[str(types[name])]}") from error
        if wrong := _unusable(name, typed[name]):
            raise ConfigError(f"{source} sets {name} to {value!r}: it {wrong}")
    return typed


def _unusable(name: str, value: Any) -> str | None:
    if isinstance(value, int | float) and not _LEAST.get(name, 0) <= value < float("inf"):
        return f"must be at least {_LEAST.get(name, 0)}"
    if name == "allowed_networks":
        return _no_networks(value)
    choices = _CHOICES.get(name)
    return None if choices is None or value in choices else f"is one of {', '.join(filter(None, choices))}"


def _no_networks(value: str) -> str | None:
    try:
        for name in filter(None, (part.strip() for part in value.split(","))):
            ipaddress.ip_network(name, strict=False)
    except ValueError as error:
        return f"has to be networks such as 127.0.0.0/8, separated by commas ({error})"
    return None

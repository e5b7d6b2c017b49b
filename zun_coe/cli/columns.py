"""What the tables show of each resource: short for people, with the reason where something is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Resource = Mapping[str, Any]
GOOD, BAD, BUSY = "green", "red", "yellow"
STYLES = {
    "Running": GOOD,
    "Ready": GOOD,
    "Exited": "",
    "Stopped": "",
    "Paused": "",
    "Failed": BAD,
    "Degraded": BAD,
    "Unreachable": BAD,
    "Unknown": BAD,
}
NOTHING = "-"


@dataclass(frozen=True)
class Column:
    """A column: its head, and what is in it, given a resource and the time. `wide`: only where it is asked for."""

    head: str
    value: Callable[[Resource, datetime], str]
    wide: bool = False


def age(then: str | None, now: datetime) -> str:
    """How long ago, in one unit: 5s, 12m, 3h, 40d."""
    if not then:
        return NOTHING
    seconds = max(int((now - datetime.fromisoformat(then).astimezone(UTC)).total_seconds()), 0)
    for size, unit, upto in ((1, "s", 120), (60, "m", 7200), (3600, "h", 172800)):
        if seconds < upto:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86400}d"


def style_of(phase: str) -> str:
    """The colour of a phase; what is on its way is yellow."""
    return STYLES.get(phase, BUSY)


def text(*path: str) -> Callable[[Resource, datetime], str]:
    """The value at a path, or a dash."""

    def value(resource: Resource, now: datetime) -> str:
        found: Any = resource
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return plain(found)

    return value


def plain(value: Any) -> str:
    """A value in a table: lists with commas, nothing as a dash."""
    if value is None or value == "" or value == [] or value == {}:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(plain(v) for v in value)
    if isinstance(value, Mapping):
        return ",".join(f"{k}={plain(v)}" for k, v in value.items())
    return str(value)


def size(count: int) -> str:
    """Bytes in the largest unit of which there is one at least: 31.3Gi."""
    for power, unit in ((3, "Gi"), (2, "Mi"), (1, "Ki")):
        if count >= 1024**power:
            return f"{round(count / 1024**power, 1):g}{unit}"
    return str(count)


def since(*path: str) -> Callable[[Resource, datetime], str]:
    """The age of the time at a path."""
    at = text(*path)

    def value(resource: Resource, now: datetime) -> str:
        found = at(resource, now)
        return NOTHING if found == NOTHING else age(found, now)

    return value


def phase(resource: Resource, now: datetime) -> str:
    """The phase, and whether it is only the last that is known."""
    status = resource.get("status", {})
    known = status.get("reachable", True) or status.get("phase") == "Unreachable"
    return str(status.get("phase", NOTHING)) + ("" if known else "?")


def ready(resource: Resource, now: datetime) -> str:
    """2/3 of an app, yes or no of a replica."""
    status = resource.get("status", {})
    counts = status.get("replicas")
    if counts:
        return f"{counts['ready']}/{counts['desired']}"
    if "replicas" in resource:
        return f"0/{resource['replicas']}"
    return plain(status.get("ready"))


def endpoints(resource: Resource, now: datetime) -> str:
    """Where it is reached: the first three addresses, and how many more there are."""
    found = resource.get("status", {}).get("endpoints") or []
    shown = [endpoint(e) for e in found[:3]]
    return ",".join(shown + ([f"+{len(found) - 3}"] if len(found) > 3 else [])) or NOTHING


def endpoint(entry: Mapping[str, Any]) -> str:
    """10.0.0.4:8080->80/tcp; /tcp goes without saying."""
    address = f"[{entry['address']}]" if ":" in entry["address"] else entry["address"]
    protocol = "" if entry.get("protocol", "tcp") == "tcp" else f"/{entry['protocol']}"
    return f"{address}:{entry['port']}->{entry['target']}{protocol}"


def reason(resource: Resource, now: datetime) -> str:
    """Why it is not as it should be, in the service's words."""
    status = resource.get("status", {})
    told = [status.get("reason"), _exit(status), status.get("message")]
    return ": ".join(str(t) for t in told if t) or NOTHING


def _exit(status: Mapping[str, Any]) -> str | None:
    code = status.get("exit_code")
    return None if code is None else f"exit code {code}"


def image(resource: Resource, now: datetime) -> str:
    """The image that runs, and the one that is wanted where that is another: web:1 -> web:2."""
    wanted = plain(resource.get("image"))
    running = resource.get("status", {}).get("image") or wanted
    return wanted if running == wanted else f"{running} -> {wanted}"


def nodes(resource: Resource, now: datetime) -> str:
    """How many of a cluster's nodes can be reached."""
    found = resource.get("status", {}).get("nodes") or []
    return f"{sum(bool(n.get('reachable')) for n in found)}/{len(found)}"


def versions(resource: Resource, now: datetime) -> str:
    """The remote APIs as they were negotiated."""
    found = resource.get("status", {}).get("versions") or {}
    return ",".join(f"{k} {v['negotiated']}" for k, v in found.items() if v.get("negotiated")) or NOTHING


def subject(resource: Resource, now: datetime) -> str:
    """What an event is about."""
    return f"{resource.get('subject')}/{resource.get('subject_name')}"


def effective(resource: Resource, now: datetime) -> str:
    """Whether a revision is wanted, runs, or both."""
    told = [word for key, word in (("current", "wanted"), ("effective", "runs")) if resource.get(key)]
    return ",".join(told) or NOTHING


NAME, AGE = Column("NAME", text("name")), Column("AGE", since("created_at"))
ID, PROJECT = Column("ID", text("id"), wide=True), Column("PROJECT", text("project"), wide=True)
LABELS = Column("LABELS", text("labels"), wide=True)
SUPPORT = Column("SUPPORT", text("support"))
NOTE = Column("NOTE", text("note"))
PHASE, READY, REASON = Column("PHASE", phase), Column("READY", ready), Column("REASON", reason)
COLUMNS: dict[str, tuple[Column, ...]] = {
    "app": (
        NAME,
        PHASE,
        READY,
        Column("IMAGE", image),
        Column("CLUSTER", text("cluster")),
        Column("ENDPOINTS", endpoints),
        AGE,
        ID,
        PROJECT,
        LABELS,
        REASON,
    ),
    "container": (
        NAME,
        PHASE,
        Column("IMAGE", text("image")),
        Column("APP", text("app")),
        Column("HOST", text("host")),
        Column("ENDPOINTS", endpoints),
        AGE,
        ID,
        Column("CLUSTER", text("cluster"), wide=True),
        PROJECT,
        LABELS,
        REASON,
    ),
    "replica": (
        NAME,
        PHASE,
        READY,
        Column("RESTARTS", text("status", "restarts")),
        Column("REVISION", text("revision")),
        Column("IMAGE", text("image"), wide=True),
        Column("DIGEST", text("status", "image_digest"), wide=True),
        Column("HOST", text("host")),
        Column("ENDPOINTS", endpoints),
        AGE,
        Column("ID", text("id")),
        Column("NATIVE ID", text("status", "native_id"), wide=True),
        REASON,
    ),
    "cluster": (
        NAME,
        Column("KIND", text("kind")),
        PHASE,
        Column("NODES", nodes),
        Column("PUBLIC", text("public")),
        Column("VERSIONS", versions),
        Column("EXPIRES", text("status", "credentials", "expires_at"), wide=True),
        AGE,
        ID,
        PROJECT,
        LABELS,
        REASON,
    ),
    "workload": (
        Column("NAMESPACE", text("namespace")),
        NAME,
        Column("KIND", text("kind")),
        Column("READY", lambda r, now: f"{r['ready']}/{r['replicas']}"),
        Column("IMAGES", text("images")),
        AGE,
        Column("ADOPTABLE", text("adoptable")),
        Column("REASON", text("reason")),
    ),
    "volume": (
        NAME,
        PHASE,
        Column("CLUSTER", text("cluster")),
        Column("HOST", text("status", "host")),
        Column("SIZE", text("size")),
        Column("USED BY", text("used_by")),
        AGE,
        ID,
        PROJECT,
        REASON,
    ),
    "secret": (NAME, Column("KEYS", text("keys")), AGE, ID, PROJECT),
    "event": (
        Column("AGE", since("at")),
        Column("COUNT", text("count")),
        Column("LEVEL", text("level")),
        Column("TYPE", text("type")),
        PROJECT,
        Column("SUBJECT", subject),
        Column("ID", text("id"), wide=True),
        Column("REQUEST", text("request_id"), wide=True),
        Column("REASON", text("reason")),
        Column("MESSAGE", text("message")),
    ),
    "service": (
        Column("ID", text("id")),
        Column("ROLE", text("role")),
        Column("HOST", text("host")),
        Column("PID", text("pid")),
        Column("VERSION", text("version")),
        Column("STARTED", since("started_at")),
        Column("HEARD OF", since("heartbeat_at")),
        Column("CLUSTERS", text("clusters"), wide=True),
    ),
    "revision": (
        Column("REVISION", text("revision")),
        Column("STATE", effective),
        Column("IMAGE", text("template", "image")),
        Column("RESTORES", text("restored")),
        AGE,
        Column("REQUEST", text("request_id"), wide=True),
    ),
    "field": (
        Column("FIELD", text("pointer")),
        SUPPORT,
        Column("VALUES", text("values")),
        NOTE,
    ),
    "operation": (
        Column("OPERATION", text("name")),
        SUPPORT,
        NOTE,
    ),
    "instance": (
        Column("REPLICA", text("slot")),
        Column("STATE", text("state")),
        Column("READY", text("ready")),
        Column("HEALTH", text("health")),
        Column("EXIT CODE", text("exit_code")),
        Column("RESTARTS", text("restarts")),
        Column("HOST", text("host")),
        Column("REASON", lambda r, now: ": ".join(str(r[k]) for k in ("reason", "message") if r.get(k)) or NOTHING),
    ),
}

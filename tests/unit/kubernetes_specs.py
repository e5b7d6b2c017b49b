"""Workloads that a Kubernetes cluster carries, made at random. All that is made is accepted by its accounting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import strategies as st

from zun_coe.adapters.kubernetes.manifest import Target
from zun_coe.model import (
    Exec,
    Health,
    HttpGet,
    Mount,
    Placement,
    Port,
    Sidecar,
    TcpConnect,
    Template,
    Tmpfs,
    Update,
    VolumeSource,
    Workload,
    WorkloadRef,
    template_hash,
)

ID = "0a1b2c3d-1111-4222-8333-444455556666"
VOLUME_IDS = {name: f"{index:08x}-0000-4000-8000-000000000000" for index, name in enumerate(("data", "cache", "logs"))}
TARGET = Target(namespace="zun-blue")


def ref(noun: Any = "app", name: str = "web") -> WorkloadRef:
    """Whose a workload is."""
    return WorkloadRef(installation="gw-1", cluster="prod", project="blue", noun=noun, id=ID, name=name)


def workload(template: Template | None = None, noun: Any = "app", **fields: Any) -> Workload:
    """An app, or a container; with the values of its secrets, and ids of its volumes."""
    template = template or Template(image="nginx:1.27")
    given = {
        "hash": template_hash(template),
        "volumes": VOLUME_IDS,
        "secrets": dict.fromkeys(template.env_secrets.values(), "hunter2"),
        "image_auth": {"username": "me", "password": "hunter2"} if template.image_auth else None,
    }
    return Workload(ref=ref(noun), template=template, **(given | fields))


def _tuples(items: st.SearchStrategy[Any], most: int = 3, **options: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, max_size=most, **options).map(tuple)


TEXTS = st.text("$()AB {}é\\\n", max_size=8)
WORDS = st.none() | st.lists(TEXTS, min_size=1, max_size=3).map(tuple)
VARIABLES = st.sampled_from(["A", "B", "PATH_1", "x.y-z"])
SIZES = st.sampled_from(["512Ki", "8Mi", "1.5Gi", "1Gi"])
MEMORY = st.sampled_from(["6Mi", "64Mi", "0.5Gi", "1.5Gi"])
CPUS = st.integers(10, 64000).map(lambda n: n / 1000)
USERS = st.sampled_from(["0", "1000", "1000:1000", "65534:0"])
VOLUMES = st.sampled_from(list(VOLUME_IDS)).map(
    # What is said of a volume is said alike everywhere
    lambda name: VolumeSource(
        name=name, size="2Gi" if name == "data" else "1Gi", class_="fast" if name == "data" else None
    )
)
SOURCES = st.one_of(
    VOLUMES.map(lambda v: {"volume": v}),
    st.sampled_from(["/srv/a", "/srv/b"]).map(lambda path: {"bind": path}),
    (st.none() | SIZES).map(lambda size: {"tmpfs": Tmpfs(size=size)}),
)
MOUNTS = _tuples(
    st.builds(
        lambda path, read_only, source: Mount(path=path, read_only=read_only, **source),
        st.sampled_from(["/data", "/tmp", "/etc/web", "/a/b"]),
        st.booleans(),
        SOURCES,
    ),
    unique_by=lambda mount: mount.path,
)


@st.composite
def healths(draw: Callable[..., Any]) -> Health:
    """A check; failures may not count for some whole intervals."""
    interval = draw(st.integers(1, 60))
    ports = st.integers(1, 65535)
    check = draw(
        st.one_of(
            st.builds(HttpGet, port=ports, path=st.sampled_from(["/", "/up?x=1"])).map(lambda c: {"http": c}),
            st.builds(TcpConnect, port=ports).map(lambda c: {"tcp": c}),
            st.lists(TEXTS, min_size=1, max_size=2).map(lambda words: {"exec": Exec(command=tuple(words))}),
        )
    )
    times = {"interval": interval, "timeout": draw(st.integers(1, 60)), "retries": draw(st.integers(1, 10))}
    return Health(**check, **times, start_period=interval * draw(st.integers(0, 5)))


PROCESS: dict[str, st.SearchStrategy[Any]] = {
    "image": st.sampled_from(["nginx", "registry.example:5000/a/b:1", "ghcr.io/x/y@sha256:" + "0" * 64]),
    "pull": st.sampled_from(["always", "missing", "never"]),
    "command": WORDS,
    "args": WORDS,
    "env": st.dictionaries(VARIABLES, TEXTS, max_size=3),
    "workdir": st.none() | st.just("/srv"),
    "user": st.none() | USERS,
    "cpu": st.none() | CPUS,
    "memory": st.none() | MEMORY,
    "mounts": MOUNTS,
    "health": st.none() | healths(),
}
# Without host networks: those make ports the nodes' own.
PORTS = _tuples(
    st.builds(
        Port,
        port=st.sampled_from([53, 80, 443]),
        protocol=st.sampled_from(["tcp", "udp"]),
        publish=st.sampled_from([None, "auto"]),
    ),
    unique_by=lambda port: (port.port, port.protocol),
)
TEMPLATES: st.SearchStrategy[Template] = st.builds(
    Template,
    **PROCESS,
    env_secrets=st.dictionaries(st.sampled_from(["P", "Q"]), st.sampled_from(["db/pass.word", "db/user", "x/y"])),
    hostname=st.none() | st.just("inside"),
    tty=st.booleans(),
    stdin=st.booleans(),
    gpu=st.integers(0, 2),
    ports=PORTS,
    stop_timeout=st.integers(1, 3600),
    sidecars=_tuples(
        st.builds(Sidecar, name=st.sampled_from(["log", "proxy"]), **PROCESS), most=2, unique_by=lambda s: s.name
    ),
)
SHARES = st.integers(1, 9) | st.sampled_from(["25%", "100%"])
UPDATES: st.SearchStrategy[Update] = st.builds(
    Update,
    strategy=st.just("rolling"),
    max_surge=SHARES,
    max_unavailable=SHARES,
    min_ready=st.integers(0, 30),
    deadline=st.integers(31, 600),
) | st.builds(Update, strategy=st.just("recreate"), min_ready=st.integers(0, 30))
LABELS = st.dictionaries(st.sampled_from(["tier", "example.org/team"]), st.sampled_from(["", "front", "a_b.c"]))


@st.composite
def apps(draw: Callable[..., Any]) -> Workload:
    """An app in any state."""
    template = draw(TEMPLATES)
    mounted = [*template.mounts, *(m for s in template.sidecars for m in s.mounts)]
    spread = None if any(m.volume for m in mounted) else draw(st.sampled_from([None, "zone"]))
    placement = Placement(constraints=draw(st.dictionaries(st.just("disk"), st.just("ssd"))), spread=spread)
    return workload(
        template,
        replicas=draw(st.integers(0, 9)),
        desired_state=draw(st.sampled_from(["running", "stopped"])),
        update=draw(UPDATES),
        placement=placement,
        labels=draw(LABELS),
    )


@st.composite
def containers(draw: Callable[..., Any]) -> Workload:
    """A container of its own, in any state."""
    template = msgspec.structs.replace(draw(TEMPLATES), sidecars=(), restart=draw(st.sampled_from(["never", "always"])))
    state = draw(st.sampled_from(["running", "stopped"]))
    return workload(template, "container", desired_state=state, labels=draw(LABELS), restarts=draw(st.integers(0, 3)))

"""From a JSON body to an intent, and the rules that no schema can say. Pure.

The shape was checked against the contract before; here defaults are filled in, and what is wrong is
told with a pointer and a sentence that says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from zun_coe.adapters import images
from zun_coe.errors import FieldProblem, Malformed
from zun_coe.model import Intent, Mount, Noun, Placement, Secret, Sidecar, Template, Update, Value, plain, share_of

# What the server sets: accepted in a body, so that GET, edit, PUT works, and ignored.
READ_ONLY = frozenset(
    [
        "id",
        "project",
        "app",
        "host",
        "generation",
        "revision",
        "created_at",
        "updated_at",
        "status",
        "cluster_id",
        "lost",
        "adopted",
        "has_credentials",
    ]
)
TEMPLATE_FIELDS = frozenset(Template.__struct_encode_fields__)
T = TypeVar("T", bound=Value)


@dataclass(frozen=True)
class Wanted:
    """A body that was understood: everything of an intent that the user decides."""

    name: str | None
    cluster: str | None
    template: Template
    labels: Mapping[str, str]
    desired_state: str
    replicas: int
    update: Update
    placement: Placement
    accept_loss: tuple[str, ...]


def parse(noun: Noun, body: Mapping[str, Any]) -> Wanted:
    """What a whole body asks for, with defaults. Raises `Malformed` with pointers."""
    given = {k: v for k, v in body.items() if k not in READ_ONLY}
    template = {k: v for k, v in given.items() if k in TEMPLATE_FIELDS}
    if noun == "container" and template.pop("sidecars", None):
        raise Malformed("A container has no sidecars.", [FieldProblem("/sidecars", "Only an app has sidecars.")])
    return Wanted(
        name=given.get("name"),
        cluster=given.get("cluster"),
        template=_convert(template, Template, ""),
        labels=given.get("labels", {}),
        desired_state=given.get("desired_state", "running"),
        replicas=given.get("replicas", 1),
        update=_convert(given.get("update", {}), Update, "/update"),
        placement=_convert(given.get("placement", {}), Placement, "/placement"),
        accept_loss=tuple(given.get("accept_loss", ())),
    )


def as_body(intent: Intent) -> dict[str, Any]:
    """The body that would ask for this intent: what a merge patch is applied to."""
    body: dict[str, Any] = {"name": intent.name, "cluster": intent.cluster, "labels": dict(intent.labels)}
    body |= {"desired_state": intent.desired_state, "accept_loss": list(intent.accept_loss)}
    body |= plain(intent.template)
    if intent.noun == "container":
        body.pop("sidecars")
        return body
    return body | {
        "replicas": intent.replicas,
        "update": plain(intent.update),
        "placement": plain(intent.placement),
    }


def merge(target: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396): null takes away, objects merge, everything else is replaced whole."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def problems_of(wanted: Wanted, noun: Noun, secrets: Callable[[str], Secret | None]) -> list[FieldProblem]:
    """Everything that is wrong with the specification as a whole: where it contradicts itself or names what is not
    there. `secrets` finds a secret of the project by name."""
    template = wanted.template
    problems = [
        *_check_images(template),
        *_check_ports(template),
        *_check_health(template.health, "/health"),
        *_check_mounts(template.mounts, "/mounts"),
        *_check_sidecars(template.sidecars),
        *_check_secrets(template, secrets),
        *_check_update(wanted),
    ]
    if noun == "app" and wanted.desired_state == "paused":
        problems.append(
            FieldProblem("/desired_state", "An app is running or stopped; only containers of their own can be paused.")
        )
    if noun == "app" and template.restart != "always":
        detail = "An app is kept running, so restart is always; for a process that ends create a container."
        problems.append(FieldProblem("/restart", detail))
    return problems


def forbidden(template: Template, *, bind: bool, host_network: bool) -> list[FieldProblem]:
    """What the operator does not allow."""
    problems = []
    for pointer, mount in _all_mounts(template):
        if mount.bind and not bind:
            problems.append(FieldProblem(f"{pointer}/bind", "The operator does not allow mounts of host paths here."))
    if "host" in template.networks and not host_network:
        problems.append(FieldProblem("/networks", "The operator does not allow the network of the host here."))
    return problems


def volumes_of(template: Template) -> Iterator[tuple[str, Mount]]:
    """Every mount of a named volume, with its pointer."""
    return ((pointer, mount) for pointer, mount in _all_mounts(template) if mount.volume)


def _convert(value: Any, type_: type[T], base: str) -> T:
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        pointer = base + re.sub(r"\[(\d+)\]", r"/\1", path.rstrip("`").replace(".", "/").replace("[...]", ""))
        if missing := re.search(r"missing required field `(\w+)`", text):
            pointer, text = f"{pointer}/{missing[1]}", "It is required"
        raise Malformed(f"{pointer or 'The body'}: {text}.", [FieldProblem(pointer, f"{text}.")]) from error


def _check_images(template: Template) -> Iterator[FieldProblem]:
    """References that no registry could ever resolve: known now, and not only once a host has tried to pull."""
    sidecars = ((f"/sidecars/{index}/image", sidecar.image) for index, sidecar in enumerate(template.sidecars))
    for pointer, image in [("/image", template.image), *sidecars]:
        try:
            images.parse(image)
        except ValueError as error:
            yield FieldProblem(pointer, str(error))


def _check_ports(template: Template) -> Iterator[FieldProblem]:
    """One port may be published at several of the host, so that it is there several times then."""
    seen: set[Any] = set()
    for index, port in enumerate(template.ports):
        pair = port.port, port.protocol
        alike = [p.publish for p in template.ports if (p.port, p.protocol) == pair]
        keys: list[tuple[str, Any, str]] = []
        if None in alike or alike.count("auto") > 1:
            keys.append(("port", pair, f"Port {port.port}/{port.protocol}"))
        if port.name:
            keys.append(("name", port.name, f"The name {port.name}"))
        if isinstance(port.publish, int):
            keys.append(("publish", ("publish", port.publish, port.protocol), f"The published port {port.publish}"))
        for field, key, words in keys:
            if key in seen:
                yield FieldProblem(f"/ports/{index}/{field}", f"{words} is there twice; give each port once.")
            seen.add(key)


def _check_health(health: Any, pointer: str) -> Iterator[FieldProblem]:
    if health is None:
        return
    kinds = [k for k in ("http", "tcp", "exec") if getattr(health, k) is not None]
    if len(kinds) != 1:
        told = " and ".join(kinds) or "none"
        yield FieldProblem(pointer, f"A health check is exactly one of http, tcp and exec; this one has {told}.")


def _check_mounts(mounts: Iterable[Mount], pointer: str) -> Iterator[FieldProblem]:
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        kinds = [k for k in ("volume", "bind", "tmpfs") if getattr(mount, k) is not None]
        if len(kinds) != 1:
            told = " and ".join(kinds) or "none"
            yield FieldProblem(
                f"{pointer}/{index}", f"A mount is exactly one of volume, bind and tmpfs; it has {told}."
            )
        path = mount.path.rstrip("/") or "/"
        if path in seen or path == "/":
            yield FieldProblem(f"{pointer}/{index}/path", f"{path} is mounted twice or is the root; choose another.")
        seen.add(path)


def _check_sidecars(sidecars: Iterable[Sidecar]) -> Iterator[FieldProblem]:
    seen = {"main"}
    for index, sidecar in enumerate(sidecars):
        if sidecar.name in seen:
            detail = f"{sidecar.name} is taken; each sidecar has a name of its own, and main is the app's container."
            yield FieldProblem(f"/sidecars/{index}/name", detail)
        seen.add(sidecar.name)
        yield from _check_health(sidecar.health, f"/sidecars/{index}/health")
        yield from _check_mounts(sidecar.mounts, f"/sidecars/{index}/mounts")


def _check_secrets(template: Template, secrets: Callable[[str], Secret | None]) -> Iterator[FieldProblem]:
    for variable, source in template.env_secrets.items():
        name, _, key = source.partition("/")
        secret = secrets(name)
        if secret is None or key not in secret.keys:
            there = f"the secret {name} has {', '.join(secret.keys)}" if secret else f"there is no secret {name}"
            yield FieldProblem(f"/env_secrets/{variable}", f"{source} is not there: {there}.")
        if variable in template.env:
            yield FieldProblem(f"/env_secrets/{variable}", f"{variable} is in env too; give it once.")
    if template.image_auth is not None:
        secret = secrets(template.image_auth)
        if secret is None:
            yield FieldProblem("/image_auth", f"There is no secret {template.image_auth}.")
        elif not {"username", "password"} <= set(secret.keys):
            yield FieldProblem("/image_auth", "A registry's login is a secret with the keys username and password.")


def _check_update(wanted: Wanted) -> Iterator[FieldProblem]:
    for field in ("max_surge", "max_unavailable"):
        value = getattr(wanted.update, field)
        if isinstance(value, str) and not re.fullmatch(r"\d{1,3}%", value):
            yield FieldProblem(f"/update/{field}", f"{value!r} is neither a number nor a percentage such as 25%.")
            return
    surge = share_of(wanted.update.max_surge, 100, up=True)
    if wanted.update.strategy == "rolling" and not surge and not share_of(wanted.update.max_unavailable, 100, up=False):
        detail = "With max_surge and max_unavailable both 0 no replica could ever be replaced; raise one of them."
        yield FieldProblem("/update/max_unavailable", detail)


def _all_mounts(template: Template) -> Iterator[tuple[str, Mount]]:
    for index, mount in enumerate(template.mounts):
        yield f"/mounts/{index}", mount
    for number, sidecar in enumerate(template.sidecars):
        for index, mount in enumerate(sidecar.mounts):
            yield f"/sidecars/{number}/mounts/{index}", mount


def is_name(text: str) -> bool:
    """Whether it may name anything: a DNS label that begins with a letter."""
    return bool(re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", text))

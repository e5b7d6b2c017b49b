"""What the store or a cluster has no room for, found before anything is written. Pure.

A write to the store has room for 1.5 MB (etcd's limit for a request), and writes a specification up to three times:
as what is wanted, as a revision, and in the answer that is kept for an Idempotency-Key. An object of Kubernetes has
room for 1.5 MB, a Secret of it for 1 MiB, and the environment and arguments of a process on Linux for about 2 MB."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from zun_coe.errors import FieldProblem, Unprocessable
from zun_coe.model import Secret, Template
from zun_coe.model.references import secret_names, volume_names

SPECIFICATION = 450_000
"""The JSON of an app, a container or a cluster has so many bytes at most."""
SECRET = 700_000
"""The same of the values of a secret, before they are encrypted."""
VALUES = 900_000
"""All values that one template takes from secrets have so many bytes at most."""
VOLUMES, SECRETS = 30, 50
"""One template names so many volumes and secrets at most."""


def must_fit(
    body: Mapping[str, Any],
    before: Mapping[str, Any],
    template: Template,
    secrets: Callable[[str], Secret | None],
    opened: Callable[[str], Mapping[str, Any]],
) -> None:
    """Raises `Unprocessable` for a specification (as JSON, and its template) that is too large. `before`: what it was,
    which is no reason to refuse a change that makes it no larger. `secrets` finds a secret by name, `opened` gives
    its values."""
    problems = [*of_specification(body, before), *of_names(template), *of_values(template, secrets, opened)]
    if problems:
        raise Unprocessable("The specification is larger than what can be kept.", problems)


def of_specification(body: Mapping[str, Any], before: Mapping[str, Any] = MappingProxyType({})) -> list[FieldProblem]:
    """What is wrong with the size of what is wanted, as JSON."""
    size = _size(body)
    if size <= SPECIFICATION or (before and size <= _size(before)):
        return []
    return [_too_large(body, size, SPECIFICATION, "")]


def of_secret(data: Mapping[str, str]) -> list[FieldProblem]:
    """What is wrong with the size of a secret's values."""
    size = _size(data)
    return [] if size <= SECRET else [_too_large(data, size, SECRET, "/data")]


def of_names(template: Template) -> list[FieldProblem]:
    """What is wrong with how many things a template names."""
    volumes, secrets = volume_names(template), secret_names(template)
    problems = []
    if len(volumes) > VOLUMES:
        detail = f"It names {len(volumes)} volumes; there is room for {VOLUMES}. Keep more in one of them."
        problems.append(FieldProblem("/mounts", detail))
    if len(secrets) > SECRETS:
        detail = f"It names {len(secrets)} secrets; there is room for {SECRETS}. Keep several values in one secret."
        problems.append(FieldProblem("/env_secrets", detail))
    return problems


def of_values(
    template: Template, secrets: Callable[[str], Secret | None], opened: Callable[[str], Mapping[str, Any]]
) -> list[FieldProblem]:
    """What is wrong with the size of all values that a template takes from secrets. These are opened (`opened`) only
    where they might be too large."""
    named = {name: secret for name in sorted(secret_names(template)) if (secret := secrets(name))}
    if sum(len(secret.data) for secret in named.values()) <= VALUES:  # encrypted they are longer
        return []
    values = {name: opened(secret.data) for name, secret in named.items()}
    sources = (source.partition("/") for source in template.env_secrets.values())
    size = sum(len(str(values.get(name, {}).get(key, "")).encode()) for name, _, key in sources)
    if size <= VALUES:
        return []
    detail = f"The values taken from secrets have {size} bytes together; there is room for {VALUES}."
    return [FieldProblem("/env_secrets", detail)]


def _too_large(body: Any, size: int, most: int, base: str) -> FieldProblem:
    pointer, part = _largest(body, base)
    detail = (
        f"It has {size} bytes of JSON, {part} of them here; there is room for {most}. Keep large content in a volume"
        " or in the image."
    )
    return FieldProblem(pointer, detail)


def _largest(body: Any, pointer: str) -> tuple[str, int]:
    """The innermost part that has most of a body's size, and its size."""
    size = _size(body)
    if isinstance(body, Mapping):
        parts = {str(name): value for name, value in body.items()}
    elif isinstance(body, list | tuple):
        parts = {str(index): value for index, value in enumerate(body)}
    else:
        return pointer, size
    name = max(parts, key=lambda name: _size(parts[name]), default=None)
    if name is None or _size(parts[name]) < size / 2:
        return pointer, size
    return _largest(parts[name], f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")


def _size(value: Any) -> int:
    return len(msgspec.json.encode(value))

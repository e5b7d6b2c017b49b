"""What to create for one replica: the template in a runtime's terms. Pure.

A replica without sidecars is one container. With sidecars a further one, `infra`, holds the network, the
names and the published ports, and does nothing else, so that any of the others may end and start again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from msgspec.structs import replace

from zun_coe.errors import Invalid
from zun_coe.model import Health, Mount, Port, Sidecar, Template, Workload, bytes_of, plain
from zun_coe.native import naming, pause
from zun_coe.native.naming import INFRA, MAIN, sidecar_role
from zun_coe.native.runtime import ContainerSpec, PortBinding, RuntimeMount

HOST_NETWORK = ("host",)


def template_of(workload: Workload, hash_: str) -> Template | None:
    """The template with this hash, where it is the wanted one or the one before."""
    if hash_ == workload.hash:
        return workload.template
    return workload.previous if hash_ == workload.previous_hash else None


def specs(workload: Workload, template: Template, hash_: str, slot: int) -> dict[str, ContainerSpec]:
    """The containers of one replica by role, in the order of their creation. With sidecars the `join` of
    all but the first is the id of the first, known only then. Raises `Invalid` for a secret that is missing."""
    main = _main(workload, template, hash_, slot)
    if not template.sidecars:
        return {MAIN: main}
    sidecars = {sidecar_role(s.name): _sidecar(workload, template, s, hash_, slot) for s in template.sidecars}
    return {INFRA: _infra(workload, template, hash_, slot), MAIN: main, **sidecars}


def images(workload: Workload, template: Template, hash_: str) -> list[tuple[str, str]]:
    """The images that a replica needs, each with its pull policy."""
    return [_resolved(workload, hash_, name, process) for name, process in _processes(template)]


def resolved(workload: Workload, template: Template, hash_: str) -> bool:
    """Whether further replicas get the same images as the first one, whatever became of their tags meanwhile."""
    return all(policy != "always" for _, policy in images(workload, template, hash_))


def _processes(template: Template) -> list[tuple[str, Template | Sidecar]]:
    return [(MAIN, template), *((sidecar.name, sidecar) for sidecar in template.sidecars)]


def _resolved(workload: Workload, hash_: str, name: str, process: Template | Sidecar) -> tuple[str, str]:
    """An image and when to pull it. One that is to be pulled always was resolved with the first replica, and need
    only be there then."""
    digests = workload.digests if hash_ == workload.hash else workload.previous_digests
    digest = digests.get(name, "")
    if process.pull != "always" or "@" not in digest:
        return process.image, process.pull
    return digest, "missing"


def networks(workload: Workload, template: Template) -> list[str]:
    """The native names of the networks that a replica joins, the project's own first."""
    if template.networks == HOST_NETWORK:
        return []
    ref = workload.ref
    further = [naming.network_name(ref.installation, ref.project, name) for name in template.networks]
    return [naming.network_name(ref.installation, ref.project), *further]


def aliases(workload: Workload) -> tuple[str, ...]:
    """The names under which others on its networks find a replica."""
    return (workload.ref.name,)


def volumes(workload: Workload, template: Template) -> dict[str, str]:
    """The native name of each volume that a replica mounts, with the name that users gave it."""
    mounts = [*template.mounts, *(m for s in template.sidecars for m in s.mounts)]
    return {_volume(workload, m.volume.name): m.volume.name for m in mounts if m.volume}


def fixed_ports(template: Template) -> frozenset[tuple[int, str]]:
    """The ports of the host that a replica must have."""
    return frozenset((p.publish, p.protocol) for p in template.ports if isinstance(p.publish, int))


def memory_of(template: Template) -> int:
    """The memory that a replica may use, in bytes; 0 where it has no limit."""
    limits = [template.memory, *(s.memory for s in template.sidecars)]
    return sum(bytes_of(limit) for limit in limits if limit)


def render(workload: Workload) -> list[dict[str, Any]]:
    """What would be created for every slot, as plain JSON, with the values of secrets masked."""
    masked = replace(workload, secrets=dict.fromkeys(workload.template.env_secrets.values(), "***"))
    slots = range(1, workload.wanted + 1)
    replicas = (specs(masked, workload.template, workload.hash, slot) for slot in slots)
    return [plain(asdict(spec) | {"health": plain(spec.health)}) for replica in replicas for spec in replica.values()]


def _labels(workload: Workload, template: Template, hash_: str, slot: int, role: str) -> dict[str, str]:
    labels = naming.of_workload(workload.ref) | {
        naming.SLOT: str(slot),
        naming.HASH: hash_,
        naming.ROLE: role,
        naming.STOP_TIMEOUT: str(template.stop_timeout),
    }
    if template.sidecars:
        labels[naming.PARTS] = ",".join([INFRA, MAIN, *(sidecar_role(s.name) for s in template.sidecars)])
    return labels


def _main(workload: Workload, template: Template, hash_: str, slot: int) -> ContainerSpec:
    network = {} if template.sidecars else _network(workload, template)
    return ContainerSpec(
        name=naming.container_name(workload.ref, slot, hash_),
        image=_resolved(workload, hash_, MAIN, template)[0],
        labels=_labels(workload, template, hash_, slot, MAIN) | naming.health_label(template.health),
        entrypoint=template.command,
        args=template.args,
        env=dict(template.env) | _secrets(workload, template),
        workdir=template.workdir,
        user=template.user,
        tty=template.tty,
        stdin=template.stdin,
        cpu=template.cpu,
        memory=bytes_of(template.memory) if template.memory else None,
        gpu=template.gpu,
        health=_exec_only(template.health),
        mounts=_mounts(workload, template.mounts),
        restart=template.restart,
        stop_signal=template.stop_signal,
        stop_timeout=template.stop_timeout,
        **network,
    )


def _infra(workload: Workload, template: Template, hash_: str, slot: int) -> ContainerSpec:
    return ContainerSpec(
        name=naming.container_name(workload.ref, slot, hash_, INFRA),
        image=pause.IMAGE,
        labels=_labels(workload, template, hash_, slot, INFRA),
        entrypoint=pause.COMMAND,
        restart="always",
        stop_timeout=0,
        **_network(workload, template),
    )


def _sidecar(workload: Workload, template: Template, sidecar: Sidecar, hash_: str, slot: int) -> ContainerSpec:
    role = sidecar_role(sidecar.name)
    return ContainerSpec(
        name=naming.container_name(workload.ref, slot, hash_, role),
        image=_resolved(workload, hash_, sidecar.name, sidecar)[0],
        labels=_labels(workload, template, hash_, slot, role) | naming.health_label(sidecar.health),
        entrypoint=sidecar.command,
        args=sidecar.args,
        env=sidecar.env,
        workdir=sidecar.workdir,
        user=sidecar.user,
        cpu=sidecar.cpu,
        memory=bytes_of(sidecar.memory) if sidecar.memory else None,
        health=_exec_only(sidecar.health),
        mounts=_mounts(workload, sidecar.mounts),
        restart="always",
        stop_timeout=template.stop_timeout,
    )


def _network(workload: Workload, template: Template) -> dict[str, Any]:
    """What the container that holds the network is given."""
    names = networks(workload, template)
    return {
        "hostname": template.hostname,
        "ports": tuple(_binding(port) for port in template.ports),
        "networks": tuple(names),
        "aliases": aliases(workload) if names else (),
        "host_network": not names,
    }


def _binding(port: Port) -> PortBinding:
    return PortBinding(port.port, port.protocol, 0 if port.publish == "auto" else port.publish)


def _mounts(workload: Workload, mounts: Iterable[Mount]) -> tuple[RuntimeMount, ...]:
    return tuple(
        RuntimeMount(
            path=mount.path,
            read_only=mount.read_only,
            volume=_volume(workload, mount.volume.name) if mount.volume else None,
            bind=mount.bind,
            tmpfs=mount.tmpfs is not None,
            size=bytes_of(mount.tmpfs.size) if mount.tmpfs and mount.tmpfs.size else None,
        )
        for mount in mounts
    )


def _volume(workload: Workload, name: str) -> str:
    if name not in workload.volumes:
        raise Invalid(f"The volume {name} is not there any more.", "VolumeUnavailable", {"volume": name})
    return naming.volume_name(workload.volumes[name])


def _secrets(workload: Workload, template: Template) -> dict[str, str]:
    missing = sorted(set(template.env_secrets.values()) - workload.secrets.keys())
    if missing:
        raise Invalid(f"The secret {missing[0]} is not there.", evidence={"secrets": missing})
    return {variable: workload.secrets[key] for variable, key in template.env_secrets.items()}


def _exec_only(health: Health | None) -> Health | None:
    return health if health is not None and health.exec is not None else None

"""Where a simulated cluster puts containers, and which ports it gives away."""

from __future__ import annotations

from collections import Counter

from tests.simulated.group import Group
from zun_coe.model import Endpoint, Node, Port, Workload

FIRST_AUTO_PORT = 30000


class Nodes:
    """The machines. `room`: how many containers each of them holds (None: any number). Guarded by the
    lock of the cluster."""

    def __init__(self, nodes: tuple[Node, ...], room: int | None) -> None:
        self.nodes = nodes
        self.room = room
        self.load: Counter[str] = Counter()
        self._ports: dict[tuple[str, int], Group] = {}

    def place(self, group: Group) -> str | None:
        """The node for one more container of a group: the constraints hold, there is room, and the group is
        spread evenly. None where there is no such node."""
        workload = group.workload
        wanted = workload.placement.constraints.items()
        able = [n for n in self.nodes if n.schedulable and n.reachable and wanted <= n.labels.items()]
        free = [n for n in able if self.room is None or self.load[n.name] < self.room]
        label = workload.placement.spread

        def crowd(node: Node) -> tuple[int, int, int]:
            alike = [n for n in able if label and n.labels.get(label) == node.labels.get(label)]
            return sum(group.hosts[n.name] for n in alike), group.hosts[node.name], self.load[node.name]

        chosen = min(free, key=crowd, default=None)
        if chosen is None:
            return None
        self.load[chosen.name] += 1
        group.hosts[chosen.name] += 1
        return chosen.name

    def leave(self, group: Group, host: str) -> None:
        """A container of a group is gone from its node."""
        self.load[host] -= 1
        group.hosts[host] -= 1

    def taken(self, workload: Workload, group: Group | None) -> int | None:
        """A port that the workload asks for and another one has; None when there is none."""
        fixed = [(p.protocol, p.publish) for p in workload.template.ports if isinstance(p.publish, int)]
        return next((n for protocol, n in fixed if self._ports.get((protocol, n), group) is not group), None)

    def publish(self, group: Group, workload: Workload) -> tuple[Endpoint, ...]:
        """Give the group its ports, and take back those that it no longer wants."""
        had = {(e.protocol, e.target): e.port for e in group.endpoints}
        self.withdraw(group)
        return tuple(
            Endpoint(
                address=self.nodes[0].address or "192.0.2.1",
                port=self._open(group, port, had.get((port.protocol, port.port))),
                target=port.port,
                protocol=port.protocol,
            )
            for port in workload.template.ports
            if port.publish is not None
        )

    def withdraw(self, group: Group) -> None:
        """The group has no ports any more."""
        for endpoint in group.endpoints:
            self._ports.pop((endpoint.protocol, endpoint.port), None)

    def _open(self, group: Group, port: Port, had: int | None) -> int:
        number = port.publish if isinstance(port.publish, int) else had or FIRST_AUTO_PORT
        while port.publish == "auto" and (port.protocol, number) in self._ports:
            number += 1
        self._ports[port.protocol, number] = group
        return number

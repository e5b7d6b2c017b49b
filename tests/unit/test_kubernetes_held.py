"""Objects that are held instead of asked for are as the server has them, for all that was told and written."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.unit.kubernetes_specs import ref
from zun_coe.adapters.kubernetes.freshness import Freshness
from zun_coe.adapters.kubernetes.owners import _MANY, Owners, Place

WEB = ref()
NAMES = st.sampled_from(["web", "other"])


def service(name: str, version: int) -> dict[str, Any]:
    return {"kind": "Service", "metadata": {"namespace": "ns", "name": name, "resourceVersion": str(version)}}


def place(name: str) -> Place:
    return ("Service", "ns", name)


class Against(RuleBasedStateMachine):
    """One workload's Services, which the gateway and others change, and a watch that tells of it later."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        freshness = Freshness()
        self.stack.enter_context(freshness.followed("Service", "1"))
        self.owners = Owners(freshness)
        self.version = 1
        self.there: dict[str, int] = {}
        self.untold: list[tuple[str, int, bool]] = []
        self.own: dict[str, int] = {}

    @rule(name=NAMES)
    def we_write(self, name: str) -> None:
        self.owners.send(WEB, "Service")
        self._written(name)
        self.owners.hold(WEB, service(name, self.version))
        self.own[name] = self.version

    @rule(name=NAMES)
    def our_write_was_lost(self, name: str) -> None:
        """It was sent, and nobody knows what came of it."""
        self.owners.send(WEB, "Service")
        self._written(name)

    @rule(name=NAMES)
    def somebody_writes(self, name: str) -> None:
        if name in self.there:
            self._written(name)

    @rule(name=NAMES)
    def somebody_deletes(self, name: str) -> None:
        if name in self.there:
            self.version += 1
            del self.there[name]
            self.own.pop(name, None)
            self.untold.append((name, self.version, True))

    @rule(count=st.integers(1, 3))
    def it_is_told(self, count: int) -> None:
        for name, version, gone in self.untold[:count]:
            if gone:
                self.owners.drop(place(name), str(version))
            else:
                self.owners.keep(place(name), WEB, str(version))
        self.untold = self.untold[count:]

    @rule()
    def it_is_watched_anew(self) -> None:
        for name, version in self.there.items():
            self.owners.keep(place(name), WEB, str(version))
        self.owners.listed("Service", {place(name) for name in self.there}, str(self.version))
        self.untold = []

    @rule()
    def it_is_asked_for(self) -> None:
        if self.owners.held(WEB, "Service") is None:
            self.owners.release(WEB, "Service")
            for name, version in self.there.items():
                self.owners.hold(WEB, service(name, version))

    @invariant()
    def what_is_held_is_there(self) -> None:
        held = self.owners.held(WEB, "Service")
        if held is None:
            return
        found = {one["metadata"]["name"]: int(one["metadata"]["resourceVersion"]) for one in held}
        assert all(found.get(name, 0) >= version for name, version in self.own.items())
        if not self.untold:
            assert found == self.there

    def teardown(self) -> None:
        self.stack.close()

    def _written(self, name: str) -> None:
        self.version += 1
        self.there[name] = self.version
        self.untold.append((name, self.version, False))


TestAgainstServer = Against.TestCase


def test_what_is_asked_for_again_and_again_is_held() -> None:
    freshness = Freshness()
    owners = Owners(freshness)
    assert owners.held(WEB, "Service") is None
    with freshness.followed("Service", "1"):
        owners.send(WEB, "Service")
        owners.hold(WEB, service("web", 5))
        assert owners.held(WEB, "Service") == [service("web", 5)]
        owners.keep(place("web"), WEB, "5")
        assert owners.held(WEB, "Service") == [service("web", 5)]
        owners.keep(place("web"), WEB, "7")
        assert owners.held(WEB, "Service") is None
        assert owners.held(WEB, "Deployment") is None
    assert owners.held(WEB, "Service") is None


def test_as_many_are_held_as_there_is_room_for() -> None:
    freshness = Freshness()
    owners = Owners(freshness)
    with freshness.followed("Service", "1"):
        for number in range(_MANY + 1):
            one = msgspec.structs.replace(WEB, id=f"id-{number}")
            owners.keep(place(f"web-{number}"), one, "5")
            owners.hold(one, service(f"web-{number}", 5))
        assert owners.held(msgspec.structs.replace(WEB, id="id-0"), "Service") is None
        assert owners.held(one, "Service") == [service(f"web-{_MANY}", 5)]

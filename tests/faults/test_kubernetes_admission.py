"""An API server whose admission makes something else of what is sent to it, as the plugin AlwaysPullImages does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.faults.api_server import Handler, writes
from tests.faults.stored import Key, Stored
from tests.native.workloads import app
from zun_coe.adapters import Again, Done
from zun_coe.adapters.kubernetes.adapter import KubernetesAdapter
from zun_coe.model import Template, Workload

TEMPLATE = Template(image="none", pull="missing")


class Insisting(Stored):
    """Images are always pulled, whatever is asked for."""

    def admitted(self, key: Key, object: Any) -> Any:
        """See `Stored.admitted`."""
        spec = {"pods": lambda: object["spec"], "deployments": lambda: object["spec"]["template"]["spec"]}
        for container in spec[key[0]]()["containers"] if key[0] in spec else ():
            container["imagePullPolicy"] = "Always"
        return object


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Stored]:
    started = Insisting(tmp_path)
    yield started
    started.close()


def workload(noun: Any) -> Workload:
    made = app(TEMPLATE)
    ref = msgspec.structs.replace(made.ref, installation="i", cluster="c", noun=noun)
    return msgspec.structs.replace(made, ref=ref)


@pytest.mark.parametrize("noun", ["app", "container"])
def test_it_is_not_fought_over(server: Stored, noun: Any) -> None:
    """Nor is it told of; not even by an adapter that has just been opened and does not know of it."""
    wanted, first = workload(noun), KubernetesAdapter(server.connection())
    assert first.apply(wanted, None) != Done()
    assert first.apply(wanted, None) == Done()
    asked = len(server.asked)
    second = KubernetesAdapter(server.connection())
    for one in (first, second, second):
        (seen,) = one.observe(wanted.ref)
        assert seen.drift == ()
        assert one.apply(wanted, seen) == Done()
        assert one.observe(wanted.ref)[0].drift == ()
    assert writes(server.asked[asked:]) == []
    assert len([a for a in server.asked if "dryRun" in a.params]) == 1
    first.close()
    second.close()


@pytest.mark.parametrize("noun", ["app", "container"])
def test_of_what_is_gone_nothing_is_kept(server: Stored, noun: Any) -> None:
    wanted, one = workload(noun), KubernetesAdapter(server.connection())
    assert one.apply(wanted, None) != Done()
    assert one.apply(wanted, None) == Done()
    assert one._insisted.known
    while one.remove(wanted.ref, None) != Done():
        pass
    assert not one._insisted.known
    one.close()


@pytest.mark.parametrize("noun", ["app", "container"])
def test_what_others_change_besides_is_put_right(server: Stored, noun: Any) -> None:
    wanted, one = workload(noun), KubernetesAdapter(server.connection())
    assert one.apply(wanted, None) != Done()
    assert one.apply(wanted, None) == Done()
    kinds = "deployments" if noun == "app" else "pods"
    (object,) = server.of(kinds)
    spec = object["spec"]["template"]["spec"] if noun == "app" else object["spec"]
    spec["containers"][0]["image"] = "other"
    assert one.apply(wanted, None) == Again()
    (drift,) = one.observe(wanted.ref)[0].drift
    assert (drift.pointer.rpartition("/")[2], drift.wanted, drift.found) == ("image", "none", "other")
    one.apply(wanted, None)
    one.apply(wanted, None)
    (object,) = server.of(kinds)
    spec = object["spec"]["template"]["spec"] if noun == "app" else object["spec"]
    assert spec["containers"][0]["image"] == "none"
    one.close()


INJECTED = {"name": "injected", "image": "proxy"}


class Injecting(Stored):
    """Every Deployment gets a container, whoever changes it."""

    def admitted(self, key: Key, object: Any) -> Any:
        """See `Stored.admitted`."""
        containers = object["spec"]["template"]["spec"]["containers"] if key[0] == "deployments" else [INJECTED]
        if INJECTED not in containers:
            containers.append(INJECTED)
        return object


def edited(server: Stored) -> Any:
    """Somebody edits a Deployment, and the server records him for all that is new in it then."""
    (object,) = server.of("deployments")
    containers = object["spec"]["template"]["spec"]["containers"]
    if INJECTED not in containers:
        containers.append(INJECTED)
    set_ = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"injected"}': {".": {}}}}}}}
    object["metadata"]["managedFields"] = [{"manager": "kubectl-edit", "operation": "Update", "fieldsV1": set_}]
    return object


@pytest.mark.parametrize("server_type", [Injecting, Stored])
def test_what_admission_adds_to_the_request_of_another_stays(tmp_path: Path, server_type: type[Stored]) -> None:
    """It would only come again. What nobody would add again is taken out, and its manager told."""
    server = server_type(tmp_path)
    wanted, one = workload("app"), KubernetesAdapter(server.connection())
    assert one.apply(wanted, None) != Done()
    assert one.apply(wanted, None) == Done()
    edited(server)
    asked = len(server.asked)
    outcome = one.apply(wanted, None)
    drift = one.observe(wanted.ref)[0].drift
    if server_type is Injecting:
        assert (outcome, drift, writes(server.asked[asked:])) == (Done(), (), [])
    else:
        assert outcome == Again()
        assert [(d.found, d.manager) for d in drift] == [(INJECTED, "kubectl-edit")]
        one.apply(wanted, None)
        (object,) = server.of("deployments")
        assert INJECTED not in object["spec"]["template"]["spec"]["containers"]
    one.close()
    server.close()


class Racing(Stored):
    """The first JSON patch comes too late: somebody has changed the object since it was looked at."""

    late = True

    def _answer(self, handler: Handler) -> None:
        asked = handler.asked
        if self.late and asked.method == "PATCH" and asked.body.startswith(b"[") and "dryRun" not in asked.params:
            self.late = False
            (object,) = self.of("deployments")
            object["metadata"]["resourceVersion"] = "999"
            object["spec"]["template"]["spec"]["containers"].insert(0, {"name": "another", "image": "x"})
            name = {'k:{"name":"another"}': {".": {}}}
            object["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"] |= name
        super()._answer(handler)


def test_what_changes_while_it_is_put_right_is_looked_at_anew(tmp_path: Path) -> None:
    """Nothing is taken out by its place in a list that is another one by then."""
    server = Racing(tmp_path)
    wanted, one = workload("app"), KubernetesAdapter(server.connection())
    one.apply(wanted, None)
    assert one.apply(wanted, None) == Done()
    edited(server)
    assert one.apply(wanted, None) == Again()
    one.apply(wanted, None)
    (object,) = server.of("deployments")
    assert [c["name"] for c in object["spec"]["template"]["spec"]["containers"]] == ["main"]
    assert not server.late
    one.close()
    server.close()

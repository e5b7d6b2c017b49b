"""An API server whose admission makes something else of what is sent to it, as the plugin AlwaysPullImages does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.faults.api_server import writes
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

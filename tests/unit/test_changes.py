"""What a change is refused for: that which it brings, and nothing that was so before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from zun_coe.adapters.fields import Accounting, absent, native
from zun_coe.errors import FieldProblem
from zun_coe.gateway.changes import brought, item_at, unsupported, value_at
from zun_coe.model import (
    ClusterInfo,
    Intent,
    Loss,
    Mount,
    OperationSupport,
    Port,
    Sidecar,
    Support,
    Template,
    VolumeSource,
    Workload,
    assemble,
)
from zun_coe.model.workload import spec_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INFO = ClusterInfo(identity="i")
DATA = Mount(path="/data", volume=VolumeSource(name="data"))


def intent(replicas: int = 1, accept_loss: tuple[str, ...] = (), **fields: Any) -> Intent:
    return Intent(
        noun="app",
        id="1",
        project="p",
        name="web",
        cluster="c",
        template=Template(**({"image": "web"} | fields)),
        created_at=NOW,
        updated_at=NOW,
        replicas=replicas,
        accept_loss=accept_loss,
    )


class Fields(dict[str, Any]):
    """An accounting that carries whatever it does not name."""

    def __missing__(self, pattern: str) -> Any:
        return native()


def alone(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    return None if workload.replicas == 1 else f"One replica can have it, not {workload.replicas}."


def never(workload: Workload, value: Any, info: ClusterInfo) -> str:
    return "The node is drained."


def refused(old: Intent, new: Intent, fields: Accounting, info: ClusterInfo = INFO) -> list[str]:
    return [r.pointer for r in unsupported("i", new, old, fields, info)[0]]


def test_what_is_new_is_refused_as_a_whole() -> None:
    fields = Fields({"/hostname": native(accepts=never)})
    assert [r.pointer for r in unsupported("i", intent(hostname="a"), None, fields, INFO)[0]] == ["/hostname"]


def test_what_did_not_change_is_not_refused_again() -> None:
    fields = Fields({"/hostname": native(accepts=never), "/workdir": native(accepts=never)})
    old = intent(hostname="a")
    assert refused(old, intent(hostname="a", env={"A": "1"}), fields) == []
    assert refused(old, intent(hostname="b"), fields) == ["/hostname"]
    assert refused(old, intent(hostname="a", workdir="/"), fields) == ["/workdir"]


def test_what_the_cluster_lost_since_is_not_refused_again() -> None:
    less = replace(INFO, overrides={"/gpu": OperationSupport(support=Support.NONE, note="No devices.")})
    assert refused(intent(gpu=1), intent(gpu=1, replicas=2), Fields(), less) == []
    assert refused(intent(gpu=1), intent(gpu=2), Fields(), less) == ["/gpu"]


def test_rule_over_several_fields_holds_for_what_the_change_makes_of_them() -> None:
    fields = Fields({"/mounts/*/volume/name": native(accepts=alone)})
    assert refused(intent(mounts=(DATA,)), intent(mounts=(DATA,), replicas=2), fields) == ["/mounts/0/volume/name"]
    assert refused(intent(mounts=(DATA,), replicas=2), intent(mounts=(DATA,), replicas=2, gpu=1), fields) == []


def test_item_of_a_list_may_move_but_not_come_again() -> None:
    fields = Fields({"/ports/*/publish": native(accepts=never)})
    port = Port(port=80, publish=8080)
    old = intent(ports=(port,))
    assert refused(old, intent(ports=(Port(port=79), port)), fields) == []
    assert refused(old, intent(ports=(port, port)), fields) == ["/ports/1/publish"]


def test_loss_that_is_no_longer_accepted_is_refused() -> None:
    fields = Fields({"/gpu": absent("No devices.")})
    old = replace(intent(gpu=1, accept_loss=("/gpu",)), lost=(Loss(pointer="/gpu", detail="No devices."),))
    assert refused(old, intent(gpu=1), fields) == ["/gpu"]
    assert unsupported("i", intent(gpu=1, accept_loss=("/gpu",), workdir="/"), old, fields, INFO) == ([], old.lost)


def test_what_was_lost_of_a_field_stays_lost_until_it_changes() -> None:
    """Under the hash of a template there is one specification, whatever the cluster has learned since."""
    old = replace(intent(gpu=1, accept_loss=("/gpu",)), lost=(Loss(pointer="/gpu", detail="No devices."),))
    assert unsupported("i", replace(old, replicas=2), old, Fields(), INFO)[1] == old.lost
    assert unsupported("i", intent(gpu=2, accept_loss=("/gpu",)), old, Fields(), INFO)[1] == ()


def test_operator_decides_about_whole_items() -> None:
    spec = spec_of(assemble("i", intent(mounts=(DATA,))))
    assert item_at(spec, "/mounts/0/volume/name") == spec["mounts"][0]
    assert (item_at(spec, "/image"), value_at(spec, "/mounts/7/path"), value_at(spec, "/none")) == ("web", None, None)


problems = st.lists(
    st.builds(FieldProblem, st.sampled_from(["/image", "/env", "/ports/0/port"]), st.sampled_from("ab"))
)
specs = st.fixed_dictionaries({"image": st.sampled_from("xy"), "env": st.just({}), "ports": st.just([{"port": 1}])})


@given(problems, specs)
def test_nothing_is_brought_by_no_change(found: list[FieldProblem], spec: dict[str, Any]) -> None:
    assert brought(found, spec, found, spec) == []
    assert brought(found, spec, [], spec) == found


@given(problems, problems, specs, specs)
def test_what_is_brought_is_among_what_was_found(
    found: list[FieldProblem], before: list[FieldProblem], now: dict[str, Any], then: dict[str, Any]
) -> None:
    left = brought(found, now, before, then)
    rest = iter(found)
    assert all(problem in rest for problem in left)
    assert len(left) >= len(found) - len(before)


def test_sidecars_are_looked_at_by_their_values() -> None:
    fields = Fields({"/sidecars/*/image": native(accepts=never)})
    old = intent(sidecars=(Sidecar(name="a", image="s"),))
    assert refused(old, intent(sidecars=(Sidecar(name="a", image="s", env={"A": "1"}),)), fields) == []

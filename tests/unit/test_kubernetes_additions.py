"""What others have put into objects of ours, and how it is taken out."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.json_patch import patched
from tests.unit.kubernetes_specs import TARGET, apps, workload
from zun_coe.adapters.kubernetes import naming
from zun_coe.adapters.kubernetes.additions import additions, manager_of
from zun_coe.adapters.kubernetes.converging import Erase, Json, Send, Strip, key_of, plan, stamped
from zun_coe.adapters.kubernetes.manifest import render
from zun_coe.model import Port, Template

TEMPLATE = Template(
    image="nginx", env={"A": "1"}, env_secrets={"P": "db/password"}, ports=(Port(port=80, name="http"),)
)
POD = "/spec/template/spec"
# As the API server names the items of lists.
KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "containerPorts": ("containerPort", "protocol"),
    "ports": ("port", "protocol"),
}
SIDECAR = {"name": "theirs", "image": "proxy", "imagePullPolicy": "Always"}


def fields_of(value: Any, before: Any = None, name: str = "") -> Any:
    """All fields of a value, as the server records them for who sent it. `before`: what was there, of which nobody is
    the maker any more."""
    if isinstance(value, Mapping):
        old = before if isinstance(before, Mapping) else {}
        inner = {f"f:{key}": fields_of(inner, old.get(key), key) for key, inner in value.items()}
        return inner if isinstance(before, Mapping) or not inner else {".": {}} | inner
    if isinstance(value, list) and name in KEYS and all(isinstance(item, Mapping) for item in value):
        keys = KEYS["containerPorts"] if value and "containerPort" in value[0] else KEYS[name]
        old_ = {item[keys[0]]: item for item in before or ()}
        return {key_of_item(item, keys): fields_of(item, old_.get(item[keys[0]])) for item in value}
    return {}


def key_of_item(item: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return f"k:{msgspec.json.encode({key: item[key] for key in keys}).decode()}"


def merged(theirs: Any, base: Any, name: str = "") -> Any:
    """What a strategic merge patch makes of it."""
    if isinstance(theirs, Mapping) and isinstance(base, Mapping):
        return {**base, **{key: merged(value, base.get(key), key) for key, value in theirs.items()}}
    if isinstance(theirs, list) and isinstance(base, list) and name in KEYS:
        known = {item[KEYS[name][0]]: item for item in base}
        known |= {item[KEYS[name][0]]: merged(item, known.get(item[KEYS[name][0]], {})) for item in theirs}
        return list(known.values())
    return theirs


def wanted(kind: str) -> Json:
    return next(o for o in render(workload(TEMPLATE), TARGET) if o["kind"] == kind)


def live_of(object: Json, theirs: Json | None = None, manager: str = "kubectl-patch") -> Json:
    """An object as it was applied, and changed by somebody."""
    live = copy.deepcopy(stamped(object))
    ours = {"manager": naming.FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields_of(live, {})}
    entries = [ours]
    if theirs is not None:
        entries.append({"manager": manager, "operation": "Update", "fieldsV1": fields_of(theirs, live)})
        live = merged(theirs, live)
    live["metadata"] |= {"uid": "u", "resourceVersion": "7", "managedFields": entries}
    return live


def template(**fields: Any) -> Json:
    return {"spec": {"template": {"spec": fields}}}


def main(**fields: Any) -> Json:
    return template(containers=[{"name": "main"} | fields])


@pytest.mark.parametrize(
    ("kind", "theirs", "pointers"),
    [
        ("Deployment", main(command=["sh"]), [f"{POD}/containers/0/command"]),
        ("Deployment", main(securityContext={"privileged": True}), [f"{POD}/containers/0/securityContext"]),
        ("Deployment", main(env=[{"name": "B", "value": "2"}]), [f"{POD}/containers/0/env/2"]),
        ("Deployment", main(lifecycle={"preStop": {"exec": {"command": ["x"]}}}), [f"{POD}/containers/0/lifecycle"]),
        ("Deployment", template(nodeSelector={"disk": "ssd"}), [f"{POD}/nodeSelector"]),
        ("Deployment", template(initContainers=[SIDECAR]), [f"{POD}/initContainers/0"]),
        ("Deployment", template(containers=[SIDECAR]), [f"{POD}/containers/1"]),
        ("Deployment", template(hostNetwork=True), [f"{POD}/hostNetwork"]),
        ("Deployment", template(serviceAccountName="admin"), [f"{POD}/serviceAccountName"]),
        ("Deployment", template(tolerations=[{"operator": "Exists"}]), [f"{POD}/tolerations"]),
        ("Deployment", {"metadata": {"labels": {"a": "b"}}}, []),
        ("Deployment", {"spec": {"template": {"metadata": {"annotations": {"restartedAt": "now"}}}}}, []),
        ("Service", {"spec": {"selector": {"track": "x"}}}, ["/spec/selector/track"]),
        ("Service", {"spec": {"externalIPs": ["10.0.0.1"]}}, ["/spec/externalIPs"]),
        ("Service", {"spec": {"sessionAffinity": "ClientIP"}}, ["/spec/sessionAffinity"]),
        ("Service", {"spec": {"clusterIP": "10.0.0.7"}}, []),
        ("Service", {"spec": {"ports": [{"port": 81, "protocol": "TCP"}]}}, ["/spec/ports/1"]),
        ("Secret", {"data": {"more": "eA=="}}, ["/data/more"]),
        ("Secret", {"immutable": True}, ["/immutable"]),
    ],
)
def test_what_somebody_adds_is_told_with_its_manager_and_taken_out(
    kind: str, theirs: Json, pointers: list[str]
) -> None:
    object = wanted(kind)
    live = live_of(object, theirs)
    assert [one.pointer for one in additions(object, live)] == pointers
    step = plan([object], {key_of(object): live})
    assert len(step.drift) == len(pointers)
    assert {drift.manager for drift in step.drift} == ({"kubectl-patch"} if pointers else set())
    assert "eA==" not in str(step.drift)
    for change in step.changes:
        assert isinstance(change, Erase if pointers == ["/immutable"] else Strip)
        if isinstance(change, Strip):
            assert plan([object], {key_of(object): patched(live, change.patch)}).drift == ()


@pytest.mark.parametrize("manager", ["kube-controller-manager", "kubelet", "kube-scheduler"])
def test_what_kubernetes_itself_sets_stays(manager: str) -> None:
    object = wanted("Deployment")
    assert additions(object, live_of(object, template(schedulerName="x"), manager)) == ()


def test_what_nobody_is_recorded_for_is_a_default() -> None:
    object = wanted("Deployment")
    live = merged(template(dnsPolicy="ClusterFirst", containers=[SIDECAR]), live_of(object))
    assert additions(object, live) == ()


def test_a_renamed_container_is_put_right_in_one_step() -> None:
    """Never is there none, which the API refuses."""
    object = wanted("Deployment")
    live = live_of(object, template(containers=[SIDECAR]))
    del live["spec"]["template"]["spec"]["containers"][0]
    strip, send = plan([object], {key_of(object): live}).changes
    assert isinstance(strip, Strip)
    assert isinstance(send, Send)
    after = patched(live, strip.patch)
    assert after["spec"]["template"]["spec"] == object["spec"]["template"]["spec"]


def test_what_we_ourselves_leave_out_is_not_taken_out_twice() -> None:
    """Applying does that; another step before it would roll out twice."""
    fewer = next(o for o in render(workload(Template(image="nginx")), TARGET) if o["kind"] == "Deployment")
    live = live_of(wanted("Deployment"))
    assert [type(change) for change in plan([fewer], {key_of(fewer): live}).changes] == [Send]


def test_an_older_template_that_is_brought_back_is_drift() -> None:
    """It comes with the digest of its own time, which is not ours any more."""
    object = wanted("Deployment")
    older = next(o for o in render(workload(Template(image="older")), TARGET) if o["kind"] == "Deployment")
    live = live_of(older)
    (entry,) = live["metadata"]["managedFields"]
    assert plan([object], {key_of(object): live}).drift == ()
    annotation = {f"f:{naming.APPLIED}": entry["fieldsV1"]["f:metadata"]["f:annotations"].pop(f"f:{naming.APPLIED}")}
    template_ = {"f:template": entry["fieldsV1"]["f:spec"].pop("f:template")}
    undo = {"f:metadata": {"f:annotations": annotation}, "f:spec": template_}
    live["metadata"]["managedFields"].append({"manager": "kubectl-rollout", "operation": "Update", "fieldsV1": undo})
    drift = plan([object], {key_of(object): live}).drift
    image = next(d for d in drift if d.pointer.endswith("/image"))
    assert (image.wanted, image.found, image.manager) == ("nginx", "older", "kubectl-rollout")


def test_of_several_managers_the_last_is_told() -> None:
    object = wanted("Service")
    live = live_of(object, {"spec": {"sessionAffinity": "ClientIP"}})
    live["metadata"]["managedFields"][-1]["time"] = "2026-01-01T00:00:00Z"
    later = {"manager": "later", "operation": "Update", "time": "2026-01-02T00:00:00Z"}
    live["metadata"]["managedFields"].append(later | {"fieldsV1": {"f:spec": {"f:sessionAffinity": {}}}})
    assert manager_of(live, "/spec/sessionAffinity") == "later"
    assert manager_of(live, "/spec/type") is None


@settings(max_examples=50, deadline=None)
@given(apps(), st.sampled_from([SIDECAR, SIDECAR | {"name": "another", "env": [{"name": "X", "value": "1"}]}]))
def test_nothing_of_ours_is_an_addition_and_everything_of_theirs_is(of: Any, container: Json) -> None:
    object = next(o for o in render(of, TARGET) if o["kind"] == "Deployment")
    assert additions(object, live_of(object)) == ()
    live = live_of(object, template(initContainers=[container], hostPID=True))
    pointers = [one.pointer for one in additions(object, live)]
    assert pointers == [f"{POD}/initContainers/0", f"{POD}/hostPID"]
    (change,) = plan([object], {key_of(object): live}).changes
    assert isinstance(change, Strip)
    after = patched(live, change.patch)
    assert after["spec"]["template"]["spec"] | {"initContainers": []} == object["spec"]["template"]["spec"] | {
        "initContainers": []
    }

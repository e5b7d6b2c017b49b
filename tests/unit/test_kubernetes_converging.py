"""What is sent to a Kubernetes, given what is wanted and what is there."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from zun_coe.adapters.kubernetes import naming
from zun_coe.adapters.kubernetes.converging import (
    Erase,
    Json,
    Key,
    Plan,
    Send,
    Strip,
    key_of,
    left_to,
    owned,
    plan,
    stamped,
)

DEPLOYMENT: Json = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web-1", "namespace": "ns", "labels": {"a": "b"}, "annotations": {"c": "d"}},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"id": "1"}}},
}
SERVICE: Json = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "ns"},
    "spec": {"ports": [{"port": 80, "protocol": "TCP"}]},
}
CLAIM: Json = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data-1", "namespace": "ns"},
    "spec": {"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["ReadWriteOnce"]},
}
POD: Json = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "one-1", "namespace": "ns", "annotations": {naming.RESTARTED: "1"}},
    "spec": {"restartPolicy": "Always"},
}


def sent(*objects: Json) -> dict[Key, Json]:
    """As a server would have them after each was sent, body first."""
    live: dict[Key, Json] = {}
    for number, one in enumerate(objects):
        there = copy.deepcopy(stamped(owned(one, live)))
        there["metadata"] |= {"uid": f"uid-{number}", "resourceVersion": "7"}
        live[key_of(there)] = there
    return live


def changed(live: dict[Key, Json], key: Key, section: str, **fields: Any) -> dict[Key, Json]:
    return live | {key: live[key] | {section: live[key].get(section, {}) | fields}}


def test_what_is_missing_is_sent_in_order() -> None:
    step = plan([CLAIM, DEPLOYMENT, SERVICE], {})
    assert [change.object["kind"] for change in step.changes if isinstance(change, Send)] == [
        "PersistentVolumeClaim",
        "Deployment",
    ]


def test_a_service_is_sent_once_when_its_owner_is_there() -> None:
    (change,) = plan([DEPLOYMENT, SERVICE], sent(DEPLOYMENT)).changes
    assert isinstance(change, Send)
    assert key_of(change.object) == key_of(SERVICE)
    assert "ownerReferences" in change.object["metadata"]


def test_a_port_that_may_be_taken_is_asked_for_before_anything_runs() -> None:
    published = SERVICE | {"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}}
    step = plan([CLAIM, DEPLOYMENT, published], {})
    assert [change.object["kind"] for change in step.changes if isinstance(change, Send)] == [
        "Service",
        "PersistentVolumeClaim",
        "Deployment",
    ]


def test_what_is_as_wanted_is_let_be() -> None:
    assert plan([CLAIM, DEPLOYMENT, SERVICE], sent(CLAIM, DEPLOYMENT, SERVICE)) == Plan()


def test_what_follows_is_sent_again_when_its_owner_is_there() -> None:
    (change,) = plan([SERVICE, DEPLOYMENT], sent(SERVICE, DEPLOYMENT)).changes
    assert isinstance(change, Send)
    (owner,) = change.object["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web-1", "uid": "uid-1"}


def test_a_change_of_ours_is_no_drift() -> None:
    more = DEPLOYMENT | {"spec": DEPLOYMENT["spec"] | {"replicas": 3}}
    step = plan([more], sent(DEPLOYMENT))
    assert step.drift == ()
    assert [type(change) for change in step.changes] == [Send]


def test_a_change_of_others_is_drift_and_is_put_right() -> None:
    spec = DEPLOYMENT["spec"] | {"replicas": 9}
    step = plan([DEPLOYMENT], changed(sent(DEPLOYMENT), key_of(DEPLOYMENT), "spec", **spec))
    assert [(d.pointer, d.wanted, d.found) for d in step.drift] == [("/Deployment/web-1/spec/replicas", 2, 9)]
    assert [type(change) for change in step.changes] == [Send]


def with_variables(*names: str, sidecar: bool = False) -> Json:
    containers = [{"name": "main", "env": [{"name": name, "value": "1"} for name in names]}]
    containers += [{"name": "theirs", "env": [{"name": "X", "value": "1"}]}] if sidecar else []
    return DEPLOYMENT | {"spec": DEPLOYMENT["spec"] | {"template": {"spec": {"containers": containers}}}}


def test_a_variable_that_others_add_to_a_container_of_ours_is_taken_out() -> None:
    wanted, live = with_variables("A"), sent(with_variables("A"))
    live[key_of(wanted)] |= {"spec": with_variables("B", "A", sidecar=True)["spec"]}
    step = plan([wanted], live)
    (drift,) = step.drift
    assert (drift.pointer, drift.found["name"]) == ("/Deployment/web-1/spec/template/spec/containers/0/env/0", "B")
    (change,) = step.changes
    assert isinstance(change, Strip)
    assert change.patch == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "remove", "path": "/spec/template/spec/containers/0/env/0"},
    ]


def test_a_port_that_takes_the_name_of_ours_makes_room_first() -> None:
    port = {"name": "http", "port": 80, "protocol": "TCP"}
    wanted = SERVICE | {"spec": {"ports": [port]}}
    live = sent(wanted)
    live[key_of(wanted)] |= {"spec": {"ports": [port | {"port": 81, "nodePort": 31000}]}}
    strip, send = plan([wanted], live).changes
    assert isinstance(strip, Strip)
    assert strip.operations == [{"op": "replace", "path": "/spec/ports", "value": [port | {"nodePort": 31000}]}]
    assert isinstance(send, Send)
    live[key_of(wanted)] |= {"spec": {"ports": [port, {"name": "metrics", "port": 99, "protocol": "TCP"}]}}
    assert plan([wanted], live) == Plan()


def test_what_the_server_insists_on_is_let_be() -> None:
    wanted = DEPLOYMENT | {"spec": DEPLOYMENT["spec"] | {"replicas": 3}}
    live = sent(wanted)
    live[key_of(wanted)] |= {"spec": DEPLOYMENT["spec"]}
    (changed,) = plan([wanted], live).changed
    assert plan([wanted], live, {"uid-0": changed.found}) == Plan()


def test_what_others_add_is_theirs() -> None:
    live = sent(DEPLOYMENT)
    live[key_of(DEPLOYMENT)]["metadata"]["annotations"]["theirs"] = "x"
    live[key_of(DEPLOYMENT)]["spec"]["progressDeadlineSeconds"] = 600
    assert plan([DEPLOYMENT], live) == Plan()


def test_what_can_never_be_changed_is_made_anew() -> None:
    spec = DEPLOYMENT["spec"] | {"selector": {"matchLabels": {"id": "2"}}}
    step = plan([DEPLOYMENT], changed(sent(DEPLOYMENT), key_of(DEPLOYMENT), "spec", **spec))
    assert step.changes == (Erase("Deployment", "web-1", "uid-0"),)


def test_a_claim_is_never_made_anew() -> None:
    spec = CLAIM["spec"] | {"accessModes": ["ReadWriteMany"], "volumeName": "pv"}
    assert plan([CLAIM], changed(sent(CLAIM), key_of(CLAIM), "spec", **spec)) == Plan()


def test_what_is_wanted_no_more_goes_and_claims_stay() -> None:
    step = plan([DEPLOYMENT], sent(DEPLOYMENT, SERVICE, CLAIM))
    assert step.changes == (Erase("Service", "web", "uid-1"),)


def test_what_is_on_its_way_out_is_waited_for() -> None:
    live = sent(POD)
    live[key_of(POD)]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert plan([POD], live) == Plan(waiting=("one-1",))
    assert plan([], live) == Plan()


@pytest.mark.parametrize("written", ["soon", "-1", "9" * 5000])
def test_a_number_of_restarts_that_others_wrote_is_put_right(written: str) -> None:
    live = changed(sent(POD), ("Pod", "one-1"), "metadata", annotations={naming.RESTARTED: written})
    step = plan([POD], live)
    assert [type(change) for change in step.changes] == [Send]


def test_a_restart_makes_a_pod_anew() -> None:
    again = POD | {"metadata": POD["metadata"] | {"annotations": {naming.RESTARTED: "2"}}}
    assert plan([again], sent(POD)).changes == (Erase("Pod", "one-1", "uid-0"),)


def test_a_pod_that_was_driven_off_is_made_anew_unless_it_may_stay_ended() -> None:
    live = changed(sent(POD), key_of(POD), "status", phase="Failed", reason="Evicted")
    assert plan([POD], live).changes == (Erase("Pod", "one-1", "uid-0"),)
    never = POD | {"spec": {"restartPolicy": "Never"}}
    assert plan([never], changed(sent(never), key_of(never), "status", phase="Failed", reason="Evicted")) == Plan()
    ended = changed(sent(POD), key_of(POD), "status", phase="Failed")
    assert plan([POD], ended) == Plan()


def test_everything_goes_when_nothing_is_wanted() -> None:
    assert {change.kind for change in plan([], sent(DEPLOYMENT, SERVICE)).changes if isinstance(change, Erase)} == {
        "Deployment",
        "Service",
    }


def test_replicas_are_left_to_an_autoscaler() -> None:
    """They are no difference, whatever they are, and change no digest; another template is sent with them."""
    live = sent(DEPLOYMENT)
    live = changed(live, key_of(DEPLOYMENT), "spec", replicas=7)
    (change,) = plan(left_to("HPA web", [DEPLOYMENT], live), live).changes
    assert isinstance(change, Send)
    assert change.object["spec"]["replicas"] == 7
    assert plan(left_to("HPA web", [DEPLOYMENT], live), live).drift == ()
    live = sent(*left_to("HPA web", [DEPLOYMENT], live))
    for replicas in (1, 9):
        live = changed(live, key_of(DEPLOYMENT), "spec", replicas=replicas)
        assert plan(left_to("HPA web", [DEPLOYMENT], live), live) == Plan()
    (back,) = plan([DEPLOYMENT], live).changes
    assert isinstance(back, Send)
    assert back.object["spec"]["replicas"] == 2
    assert plan([DEPLOYMENT], live).drift == ()


def test_what_an_autoscaler_cannot_start_is_started() -> None:
    """It leaves alone what has no replicas; and what is stopped is to have none."""
    stopped = DEPLOYMENT | {"spec": DEPLOYMENT["spec"] | {"replicas": 0}}
    assert left_to("HPA web", [stopped], sent(DEPLOYMENT)) == [stopped]
    (object,) = left_to("HPA web", [DEPLOYMENT], sent(stopped))
    assert object["spec"]["replicas"] == 2


def test_a_claim_that_is_larger_is_sent_as_it_is() -> None:
    """It cannot shrink; the API server refuses to try."""
    larger = CLAIM | {"spec": CLAIM["spec"] | {"resources": {"requests": {"storage": "5Gi"}}}}
    labelled = CLAIM | {"metadata": CLAIM["metadata"] | {"labels": {"a": "b"}}}
    (change,) = plan([labelled], sent(larger)).changes
    assert isinstance(change, Send)
    assert change.object["spec"]["resources"]["requests"]["storage"] == "5Gi"
    (change,) = plan([larger], sent(CLAIM)).changes
    assert isinstance(change, Send)
    assert change.object["spec"]["resources"]["requests"]["storage"] == "5Gi"


PROBE = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 5}
FIELDS = {"f:periodSeconds": {}, "f:httpGet": {"f:path": {}, "f:port": {}}}


def with_probe(probe: Json | None, *, image: str = "a:1") -> Json:
    container: Json = {"name": "main", "image": image} | ({"livenessProbe": probe} if probe else {})
    return DEPLOYMENT | {"spec": DEPLOYMENT["spec"] | {"template": {"spec": {"containers": [container]}}}}


def probed(probe: Json, operation: str, fields: Json) -> dict[Key, Json]:
    """A Deployment of ours with a probe as the server has it, and how its fields were set."""
    live = sent(with_probe(probe))
    within = {'k:{"name":"main"}': {".": {}, "f:livenessProbe": fields}}
    sets = {"f:spec": {"f:template": {"f:spec": {"f:containers": within}}}}
    entry = {"manager": naming.FIELD_MANAGER, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": sets}
    live[key_of(DEPLOYMENT)]["metadata"]["managedFields"] = [entry]
    return live


@pytest.mark.parametrize(
    ("probe", "gone", "comes"),
    [
        (None, "livenessProbe", None),
        ({"tcpSocket": {"port": 80}, "periodSeconds": 5}, "livenessProbe/httpGet", "livenessProbe/tcpSocket"),
    ],
)
def test_a_whole_value_of_ours_goes_with_the_defaults_in_it(probe: Json | None, gone: str, comes: str | None) -> None:
    """Applying would leave the scheme, or an empty probe, and the server takes neither."""
    there = PROBE | {"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "successThreshold": 1}
    strip, send = plan([with_probe(probe)], probed(there, "Apply", FIELDS)).changes
    assert isinstance(strip, Strip)
    assert isinstance(send, Send)
    above = "/spec/template/spec/containers/0/"
    done = {(operation["op"], operation["path"]) for operation in strip.operations}
    assert ("remove", above + gone) in done
    assert comes is None or ("add", above + comes) in done


def test_what_our_own_patch_set_in_it_goes_as_a_whole() -> None:
    there = {"tcpSocket": {"port": 80}, "periodSeconds": 10, "successThreshold": 1}
    fields = {"f:tcpSocket": {".": {}, "f:port": {}}}
    (strip, *_) = plan([with_probe(None, image="a:2")], probed(there, "Update", fields)).changes
    assert isinstance(strip, Strip)
    removed = [operation["path"] for operation in strip.operations if operation["op"] == "remove"]
    assert removed == ["/spec/template/spec/containers/0/livenessProbe"]

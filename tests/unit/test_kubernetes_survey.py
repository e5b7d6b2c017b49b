"""From native objects to observations: which pods count, and what they add up to."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.kubernetes_pods import (
    AT,
    HASH,
    ID,
    before,
    container,
    ended,
    event,
    found,
    instance,
    owned,
    pod,
    recorded,
    ref,
    running,
    waiting,
)
from zun_coe.adapters.kubernetes import naming, survey, wire
from zun_coe.adapters.kubernetes.survey import Found, Listed
from zun_coe.model import Endpoint, Observation

APP = ref("app")


def app(*pods: wire.Pod, **more: Any) -> Observation:
    return survey.observation(APP, Found(**({"deployment": deployment(), "pods": pods, "at": AT} | more)))


def deployment(replicas: int = 2, hash_: str = HASH, *conditions: dict[str, Any], **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {naming.HASH: hash_}}, "spec": spec}
    return {
        "metadata": owned(APP, "web-11111111") | {"generation": 3},
        "spec": {"replicas": replicas, "template": template},
        "status": {"observedGeneration": 3, "conditions": list(conditions)},
    }


def replica(name: str, age: float = 60, *, status: dict[str, Any] | None = None, **more: Any) -> wire.Pod:
    metadata = {"creationTimestamp": before(age)} | more.pop("metadata", {})
    return pod(running() if status is None else status, name=name, owner=APP, metadata=metadata, **more)


def node(name: str, address: str, ready: str = "True", *, cordoned: bool = False, external: str = "") -> wire.Node:
    addresses = [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]
    addresses += [{"type": "ExternalIP", "address": external}] if external else []
    conditions = [{"type": "Ready", "status": ready, "message": "Kubelet stopped posting node status."}]
    body = {
        "metadata": {"name": name},
        "spec": {"unschedulable": cordoned},
        "status": {"addresses": addresses, "conditions": conditions},
    }
    return msgspec.convert(body, wire.Node)


def service(*ports: tuple[int, int, int | None, str], name: str = "web-published") -> dict[str, Any]:
    made = [{"port": p, "targetPort": t, "protocol": k} | ({"nodePort": n} if n else {}) for p, t, n, k in ports]
    return {"metadata": owned(APP, name), "spec": {"type": "NodePort", "ports": made}}


class TestApps:
    def test_nothing_there(self) -> None:
        assert survey.observation(APP, Found()) == Observation(ref=APP)

    def test_what_a_real_server_has(self) -> None:
        told = survey.observation(APP, found(recorded("apps")["web at26"]))
        assert [(i.slot, i.name, i.state, i.ready, i.host) for i in told.instances] == [
            (1, "web-5d9c88769d-7n4bl", "running", True, "node-1"),
            (2, "web-5d9c88769d-mt96k", "running", True, "node-1"),
        ]
        assert told.endpoints == (Endpoint(address="10.101.0.1", port=30718, target=80),)
        assert (told.desired, told.reason) == (2, None)
        assert told.native == told.leftovers == ("Deployment faults/web", "Service faults/web")
        assert told.instances[0].address == "10.101.0.23"
        assert told.instances[0].ready_since == datetime.fromisoformat("2026-11-22T17:11:24Z")

    @pytest.mark.parametrize(
        ("case", "reason", "words"),
        [
            ("many quota0", "QuotaExceeded", "exceeded quota: few"),
            ("large quota0", "QuotaExceeded", "maximum memory usage"),
            ("sick at46", "RolloutStuck", "has timed out progressing"),
        ],
    )
    def test_what_is_in_the_way_of_all(self, case: str, reason: str, words: str) -> None:
        told = survey.observation(APP, found(recorded("apps")[case]))
        assert told.reason == reason
        assert words in (told.message or "")

    def test_replicas_of_a_lost_node_are_not_known(self) -> None:
        told = survey.observation(APP, found(recorded("apps")["web lost"]))
        assert [(i.state, i.ready, i.reason) for i in told.instances] == [("unknown", False, "BackendUnreachable")] * 2
        assert told.endpoints == ()

    def test_the_template_is_the_deployments_own(self) -> None:
        told = app(replica("a"), deployment=deployment(hash_="b" * 32))
        assert (told.hash, told.instances[0].hash) == ("b" * 32, HASH)

    def test_numbers_follow_age_and_those_that_leave_come_last(self) -> None:
        leaving = replica("old", 900, metadata={"deletionTimestamp": before(-9)})
        told = app(replica("c", 10), leaving, replica("b", 60), replica("a", 60))
        assert [(i.slot, i.name) for i in told.instances] == [(1, "a"), (2, "b"), (3, "c"), (4, "old")]
        assert [i.state for i in told.instances] == [*["running"] * 3, "removing"]
        assert not told.instances[3].ready

    def test_what_a_node_threw_out_is_no_replica_and_is_told_until_another_is_there(self) -> None:
        evicted = replica("a", 60, phase="Failed", reason="Evicted", message="low on resource: ephemeral-storage")
        told = app(evicted)
        assert (told.instances, told.reason, told.message) == ((), "Error", "low on resource: ephemeral-storage")
        told = app(evicted, replica("b", 5))
        assert ([i.name for i in told.instances], told.reason) == (["b"], None)

    def test_a_template_that_can_never_start_is_told_of_the_app(self) -> None:
        """So that a rollout to it fails without waiting for its deadline."""
        hopeless = waiting("CreateContainerConfigError", "couldn't find key k in Secret blue/web")
        told = app(replica("a"), replica("b", status=hopeless))
        assert (told.reason, told.message) == ("InvalidSpec", "couldn't find key k in Secret blue/web")
        old = app(replica("b", status=hopeless), deployment=deployment(hash_="b" * 32))
        assert old.reason is None

    def test_a_volume_that_cannot_be_had_is_told(self) -> None:
        (stuck,) = recorded("claims").values()
        told = app(claims=[stuck["claim"]], events=msgspec.convert(stuck["events"], list[wire.Event]))
        assert (told.reason, told.native[-1]) == ("VolumeUnavailable", "PersistentVolumeClaim faults/stuck")
        assert told.leftovers == ("Deployment blue/web-11111111",)


class TestEndpoints:
    PORTS = service((80, 8080, 31080, "TCP"), (53, 53, 31053, "UDP"), (90, 90, None, "TCP"))

    def test_every_node_that_takes_pods_leads_to_published_ports(self) -> None:
        nodes = [
            node("n2", "10.0.0.2"),
            node("n1", "10.0.0.1", external="192.0.2.1"),
            node("n3", "10.0.0.3", cordoned=True),
            node("n4", "10.0.0.4", ready="Unknown"),
        ]
        told = app(replica("a", spec={"nodeName": "n1"}), services=[self.PORTS], nodes=nodes)
        assert [(e.address, e.port, e.target, e.protocol) for e in told.endpoints] == [
            ("192.0.2.1", 31053, 53, "udp"),
            ("10.0.0.2", 31053, 53, "udp"),
            ("192.0.2.1", 31080, 8080, "tcp"),
            ("10.0.0.2", 31080, 8080, "tcp"),
        ]

    def test_without_nodes_to_see_those_of_the_pods_do(self) -> None:
        told = app(replica("a"), replica("b", hostIP="10.0.0.9"), services=[self.PORTS])
        assert {e.address for e in told.endpoints} == {"10.0.0.1", "10.0.0.9"}

    def test_of_many_nodes_some_are_told(self) -> None:
        nodes = [node(f"n{i:03}", f"10.0.1.{i}") for i in range(200)]
        told = app(replica("a", spec={"nodeName": "n007"}), services=[self.PORTS], nodes=nodes)
        assert len(told.endpoints) == 2 * survey.MOST_ADDRESSES

    def test_nothing_is_reached_where_nothing_runs(self) -> None:
        assert app(replica("a", status=waiting("ContainerCreating")), services=[self.PORTS]).endpoints == ()


class TestContainers:
    def test_a_container_is_its_pod(self) -> None:
        limits = {"resources": {"limits": {"cpu": "250m", "memory": "64Mi"}}}
        alone = pod(running(), name="web-11111111", container=limits, podIP="10.1.0.4")
        told = survey.observation(ref(), Found(pods=[alone], at=AT))
        (only,) = told.instances
        assert (told.native, told.leftovers, told.hash) == (("Pod blue/web-11111111",), (), HASH)
        assert (only.native_id, only.name) == ("web-11111111/uid-web-11111111", "web-11111111")
        assert (only.slot, only.state, only.ready) == (1, "running", True)
        assert (only.cpu, only.memory, only.address, only.host) == (0.25, 64 << 20, "10.1.0.4", "node-1")

    @pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (3, "Failed")])
    def test_one_that_ended_stays_with_its_exit_code(self, code: int, phase: str) -> None:
        told = instance(pod(container(terminated=ended(code)), phase=phase, spec={"restartPolicy": "Never"}))
        assert (told.state, told.exit_code, told.ready, told.health) == ("exited", code, False, None)
        assert told.finished_at == AT - timedelta(seconds=5)

    @pytest.mark.parametrize(
        ("policy", "code", "state"),
        [
            ("Always", 0, "restarting"),
            ("OnFailure", 0, "exited"),
            ("OnFailure", 1, "restarting"),
            ("Never", 1, "exited"),
        ],
    )
    def test_whether_an_end_is_the_end_depends_on_the_policy(self, policy: str, code: int, state: str) -> None:
        assert instance(pod(container(terminated=ended(code)), spec={"restartPolicy": policy})).state == state

    def test_one_that_was_told_to_end_has_nothing_wrong(self) -> None:
        told = instance(pod(running(), phase="Failed", reason="DeadlineExceeded", message="longer than specified"))
        assert (told.state, told.reason, told.ready) == ("exited", None, False)

    def test_an_injected_container_does_not_stand_for_it(self) -> None:
        told = instance(pod(running("proxy"), container(terminated=ended(4)), spec={"restartPolicy": "Never"}))
        assert (told.exit_code, told.state) == (4, "exited")

    def test_one_that_was_started_again_has_to_stay_first(self) -> None:
        young = pod(running(since=1.0, restarts=1, last=ended(1)))
        assert not instance(young).ready
        assert survey.next_look(ref(), Found(pods=[young], at=AT)) == pytest.approx(1.0)
        assert instance(young, at=AT + timedelta(seconds=1)).ready
        assert survey.next_look(ref(), Found(pods=[young], at=AT + timedelta(seconds=1))) is None

    def test_clocks_that_disagree_hold_nothing_up(self) -> None:
        assert instance(pod(running(since=-3600, restarts=3, last=ended(1)))).ready


class TestSorting:
    def test_each_workload_is_given_what_is_its_own(self) -> None:
        other = ref("container", "job", id="2" * 32)
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
        alone = pod(running(), name="job-22222222", owner=other, spec={"volumes": volumes})
        stranger = pod(running(), name="stranger", metadata={"labels": {}, "annotations": {}})
        claims = [{"metadata": {"name": n, "namespace": "blue", "uid": f"uid-{n}"}} for n in ("data", "unused")]
        listed = Listed(
            deployments=[deployment()],
            pods=[replica("a"), alone, stranger],
            services=[service(name="web")],
            claims=claims,
            events=[
                event("Started", "x", of="a"),
                event("Started", "x", of="job-22222222"),
                event("Started", "x", of="z"),
            ],
            nodes=[node("n", "10.0.0.1")],
            at=AT,
        )
        sorted_ = survey.sorted_out(listed)
        assert set(sorted_) == {APP, other}
        web, job = sorted_[APP], sorted_[other]
        assert (web.deployment is not None, [p.metadata.name for p in web.pods], len(web.services)) == (True, ["a"], 1)
        assert ([e.involved_object.name for e in web.events], list(web.claims)) == (["a"], [])
        assert (job.deployment, [c["metadata"]["name"] for c in job.claims]) == (None, ["data"])
        assert (job.at, len(job.nodes), len(job.events)) == (AT, 1, 1)

    def test_a_deployment_without_pods_has_its_claims(self) -> None:
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "w", "emptyDir": {}}]
        claim = {"metadata": {"name": "data", "namespace": "blue"}}
        listed = Listed(deployments=[deployment(volumes=volumes)], claims=[claim])
        assert survey.sorted_out(listed)[APP].claims == [claim]

    def test_a_service_that_is_left_over_is_found(self) -> None:
        (told,) = survey.sorted_out(Listed(services=[service()])).values()
        assert survey.observation(APP, told).leftovers == ("Service blue/web-published",)

    def test_volumes_alone_are_no_workload(self) -> None:
        labels = naming.of_project("inst", "here", "Blue Team") | {naming.VOLUME: ID}
        assert survey.sorted_out(Listed(claims=[{"metadata": {"name": "data", "labels": labels}}])) == {}


times = st.one_of(st.none(), st.integers(-100, 5000).map(before))
terminated = st.fixed_dictionaries(
    {
        "exitCode": st.integers(0, 255),
        "reason": st.sampled_from(["Error", "Completed", "OOMKilled", "ContainerCannotRun", "StartError"]),
        "startedAt": times,
        "finishedAt": times,
    }
)
waits = st.sampled_from(
    ["ContainerCreating", "PodInitializing", "CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "New"]
)
states = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"running": st.fixed_dictionaries({"startedAt": times})}),
    st.fixed_dictionaries({"terminated": terminated}),
    st.fixed_dictionaries({"waiting": st.fixed_dictionaries({"reason": waits, "message": st.text(max_size=9)})}),
)
statuses = st.fixed_dictionaries(
    {
        "state": states,
        "lastState": st.one_of(st.just({}), st.fixed_dictionaries({"terminated": terminated})),
        "ready": st.booleans(),
        "restartCount": st.integers(0, 9),
    }
)


@st.composite
def pods(draw: st.DrawFn) -> wire.Pod:
    """Any pod of an app, also such as no server would tell of."""
    told = [{"name": n} | draw(statuses) for n in draw(st.lists(st.sampled_from(["main", "side"]), unique=True))]
    probe = draw(st.sampled_from([{}, {"readinessProbe": {}}, {"livenessProbe": {}, "startupProbe": {}}]))
    deleted = {"deletionTimestamp": before(3)} if draw(st.booleans()) else {}
    created = {"creationTimestamp": draw(times)}
    return pod(
        *told,
        name=draw(st.uuids().map(str)),
        owner=APP,
        phase=draw(st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"])),
        ready=draw(st.booleans()),
        metadata=deleted | created,
        spec={
            "nodeName": draw(st.sampled_from(["", "n1"])),
            "restartPolicy": draw(st.sampled_from(["Always", "Never"])),
        },
        container=probe,
        reason=draw(st.sampled_from(["", "Evicted", "DeadlineExceeded"])),
    )


class TestRules:
    @settings(max_examples=50)
    @given(st.lists(pods(), max_size=4))
    def test_what_holds_for_all_pods(self, drawn: list[wire.Pod]) -> None:
        told = app(*drawn)
        by_name = {p.metadata.name: p for p in drawn}
        kept = [p for p in drawn if p.status.phase not in ("Failed", "Succeeded")]
        assert sorted(i.name for i in told.instances) == sorted(p.metadata.name for p in kept)
        assert [i.slot for i in told.instances] == list(range(1, len(kept) + 1))
        for each in told.instances:
            leaving = by_name[each.name].metadata.deletion_timestamp is not None
            assert (each.state == "removing") == leaving
            assert not each.ready or (each.state == "running" and each.ready_since is not None)
            assert (each.reason is None) == (each.message is None)

    @settings(max_examples=50)
    @given(st.lists(pods(), max_size=4), st.randoms(use_true_random=False))
    def test_the_order_of_a_list_means_nothing(self, drawn: list[wire.Pod], random: Any) -> None:
        shuffled = random.sample(drawn, len(drawn))
        assert app(*drawn).instances == app(*shuffled).instances

    @settings(max_examples=50)
    @given(pods())
    def test_a_container_is_one_instance_whatever_its_pod_does(self, drawn: wire.Pod) -> None:
        assert len(survey.observation(ref(), Found(pods=[drawn], at=AT)).instances) == 1


def kubelet(version: str, conditions: Any = ()) -> wire.Node:
    told = {"conditions": conditions, "nodeInfo": {"kubeletVersion": version}}
    return msgspec.convert({"metadata": {"name": "node-1"}, "status": told}, wire.Node)


class TestOverdue:
    """Pods that are kept though their time is over and nothing runs in them."""

    @pytest.mark.parametrize(
        ("leaves", "status", "node", "kept"),
        [
            (60, waiting("ImagePullBackOff"), None, False),
            (-5, container(terminated=ended(0)), None, False),
            (-5, container(terminated=ended(0)), "Unknown", True),
            (60, container("another", terminated=ended(0)), None, False),
            (-5, container("another", terminated=ended(0)), None, True),
            (60, running(), None, True),
            (1, waiting("ImagePullBackOff"), None, True),
            (-5, waiting("ImagePullBackOff"), None, True),
            (60, waiting("ImagePullBackOff"), "Unknown", True),
        ],
    )
    def test_what_keeps_them(self, leaves: float, status: Any, node: str | None, kept: bool) -> None:
        containers = {"containers": [{"name": "main"}]}
        leaving = pod(status, metadata={"deletionTimestamp": before(leaves)}, spec=containers)
        silent = [{"type": "Ready", "status": node}] if node else []
        machine = kubelet("v1.21.14", silent)
        everything = survey.Found(pods=[leaving, pod(running(), name="stays")], nodes=[machine], at=AT)
        assert [each.metadata.name for each in survey.overdue(everything)] == ([] if kept else ["web-1"])

    @pytest.mark.parametrize(("version", "tidy"), [("v1.20.2", False), ("v1.22.0", True), ("v1.33.1+k3s1", True)])
    def test_kubelets_that_tidy_up_by_themselves_are_left_to_it(self, version: str, tidy: bool) -> None:
        metadata = {"deletionTimestamp": before(60)}
        ended_, runs = pod(container(terminated=ended(0)), metadata=metadata), pod(running(), metadata=metadata)
        everything = survey.Found(pods=[ended_, runs], nodes=[kubelet(version)], at=AT)
        assert (survey.overdue(everything), survey.forgotten(everything)) == (([], []) if tidy else ([ended_], [runs]))
        assert survey.overdue(survey.Found(pods=[ended_], at=AT)) == []  # nobody knows which kubelet it is

    def test_a_pod_whose_sidecar_still_runs_has_not_ended(self) -> None:
        spec = {"containers": [{"name": "main"}], "initContainers": [{"name": "proxy", "restartPolicy": "Always"}]}
        sides = [running("proxy")]
        metadata = {"deletionTimestamp": before(-20)}
        leaving = pod(container(terminated=ended(0)), metadata=metadata, spec=spec, initContainerStatuses=sides)
        assert survey.overdue(survey.Found(pods=[leaving], nodes=[kubelet("v1.20.2")], at=AT)) == []

    @pytest.mark.parametrize(
        ("leaves", "status", "node", "forgotten"),
        [
            (60, running(), None, True),
            (1, running(), None, False),
            (60, running(), "Unknown", False),
            (60, waiting("ImagePullBackOff"), None, False),
            (60, container(terminated=ended(0)), None, False),
        ],
    )
    def test_what_is_forgotten(self, leaves: float, status: Any, node: str | None, forgotten: bool) -> None:
        leaving = pod(status, metadata={"deletionTimestamp": before(leaves)})
        silent = [{"type": "Ready", "status": node}] if node else []
        machine = kubelet("v1.21.14", silent)
        everything = survey.Found(pods=[leaving, pod(running(), name="stays")], nodes=[machine], at=AT)
        assert [each.metadata.name for each in survey.forgotten(everything)] == (["web-1"] if forgotten else [])

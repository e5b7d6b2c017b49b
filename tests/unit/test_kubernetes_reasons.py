"""What Kubernetes says of a fault, and the reason that is given for it on every COE."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.kubernetes_pods import (
    AT,
    before,
    container,
    ended,
    event,
    found,
    instance,
    pod,
    recorded,
    ref,
    running,
    waiting,
)
from zun_coe.adapters.kubernetes import naming, reasons, survey
from zun_coe.adapters.kubernetes.podspec import START_PERIOD

PROBE = {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 4}


# From 1.20 with Docker: the case, state, reason, what the message says among other things, exit code, health.
SEEN = [
    ("fine at26", "running", None, "", None, None),
    ("fine removing", "removing", None, "", None, None),
    ("noimage at1", "creating", "ImagePullFailed", "connection refused", None, None),
    ("noimage at26", "creating", "ImagePullFailed", "connection refused", None, None),
    ("noimage at46", "creating", "ImagePullFailed", "connection refused", None, None),
    ("badname at26", "failed", "InvalidSpec", "invalid reference format", None, None),
    ("neverpull at26", "creating", "ImageNotFound", "pull policy of Never", None, None),
    ("nocommand at5", "creating", None, "", None, None),
    ("nocommand at26", "failed", "InvalidSpec", "/no/such/program: no such file", 127, None),
    ("nosecret at26", "failed", "InvalidSpec", 'secret "none" not found', None, None),
    ("crash at26", "restarting", "CrashLoop", "It ends again and again, last with exit code 7.", 7, None),
    ("pair at26", "restarting", "CrashLoop", "last with exit code 5", None, None),
    ("oom at26", "restarting", "OutOfMemory", "more memory than its limit", 137, None),
    ("oomnever at26", "exited", "OutOfMemory", "more memory than its limit", 137, None),
    ("exit0 at26", "exited", None, "", 0, None),
    ("exit3 at26", "exited", None, "", 3, None),
    ("deadline at26", "exited", None, "", None, None),
    ("bigcpu at26", "pending", "Unschedulable", "1 Insufficient cpu.", None, None),
    ("unsched at26", "pending", "Unschedulable", "didn't match Pod's node affinity", None, None),
    ("hp2 at26", "pending", "PortConflict", "didn't have free ports", None, None),
    ("noclaim at26", "pending", "VolumeUnavailable", 'persistentvolumeclaim "none" not found', None, None),
    ("unbound at26", "pending", "VolumeUnavailable", "unbound immediate PersistentVolumeClaims", None, None),
    ("hostpath at26", "creating", "VolumeUnavailable", "/nowhere is not a directory", None, None),
    ("unready at26", "running", "HealthCheckFailing", "Its health check fails: sorry", None, "unhealthy"),
    ("http at26", "running", "HealthCheckFailing", "connection refused", None, "unhealthy"),
    ("slow at26", "running", "HealthCheckFailing", "Its health check fails.", None, "unhealthy"),
    ("startup at26", "running", "HealthCheckFailing", "Its health check fails: sorry", None, "unhealthy"),
    ("live at8", "running", "HealthCheckFailing", "sorry", 137, "unhealthy"),
    ("live at26", "restarting", "HealthCheckFailing", "sorry", 137, "unhealthy"),
    ("live at46", "restarting", "HealthCheckFailing", "sorry", 137, "unhealthy"),
    ("hp1 lost", "unknown", "BackendUnreachable", "Kubelet stopped posting node status", None, None),
]


@pytest.mark.parametrize(("case", "state", "reason", "words", "code", "health"), SEEN, ids=[s[0] for s in SEEN])
def test_what_a_real_server_said(case: str, state: str, reason: str, words: str, code: int, health: str) -> None:
    (told,) = survey.observation(ref(), found(recorded("pods")[case])).instances
    assert (told.state, told.reason, told.exit_code, told.health) == (state, reason, code, health)
    assert words in (told.message or "")
    assert told.ready == (case == "fine at26")


def test_every_recorded_case_is_looked_at() -> None:
    assert set(recorded("pods")) == {case for case, *_ in SEEN}


MISSING = "failed to resolve reference"
DENIED = "pull access denied, repository does not exist or may require authorization"
START = "failed to create containerd task: failed to create shim task: OCI runtime create failed"
NO_PROGRAM = (
    f'{START}: runc create failed: unable to start container process: exec: "/x": stat /x: no such file or directory'
)

# What other versions and runtimes say in a container's status.
SAID = [
    ("ErrImagePull", f'rpc error: code = NotFound desc = {MISSING} "r/x:1": r/x:1: not found', "ImageNotFound"),
    ("ErrImagePull", f"rpc error: code = Unknown desc = {DENIED}: server message: insufficient_scope", "ImageNotFound"),
    ("ErrImagePull", "reading manifest 1 in docker.io/library/x: manifest unknown", "ImageNotFound"),
    ("ErrImagePull", "Error response from daemon: manifest for x:1 not found: manifest unknown", "ImageNotFound"),
    ("ErrImagePull", f'{MISSING} "r/x:1": unexpected status from HEAD request: 401 Unauthorized', "ImagePullFailed"),
    ("ErrImagePull", f'{MISSING} "r/x": failed to authorize: failed to fetch oauth token', "ImagePullFailed"),
    ("ErrImagePull", f'{MISSING} "r/x": dial tcp: lookup r on 10.0.0.10:53: no such host', "ImagePullFailed"),
    ("ImagePullBackOff", 'Back-off pulling image "r/x"', "ImagePullFailed"),
    (
        "ImagePullBackOff",
        f'Back-off pulling image "r/x": ErrImagePull: {MISSING} "r/x": r/x: not found',
        "ImageNotFound",
    ),
    ("ImageInspectError", "Failed to inspect image", "ImagePullFailed"),
    (
        "SignatureValidationFailed",
        "image pull failed for r/x because the signature validation failed",
        "ImagePullFailed",
    ),
    ("InvalidImageName", "couldn't parse image name", "InvalidSpec"),
    ("CreateContainerConfigError", "couldn't find key k in Secret blue/web", "InvalidSpec"),
    ("CreateContainerConfigError", "container has runAsNonRoot and image will run as root", "InvalidSpec"),
    ("CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition", "Error"),
    ("CreateContainerError", "context deadline exceeded", "Error"),
    ("CreateContainerError", "failed to generate container spec: no command specified", "InvalidSpec"),
    ("RunContainerError", NO_PROGRAM, "InvalidSpec"),
    ("RunContainerError", f'{START}: exec: "serve": executable file not found in $PATH: unknown', "InvalidSpec"),
    ("RunContainerError", "driver failed: Bind for 0.0.0.0:80 failed: port is already allocated", "PortConflict"),
    ("PostStartHookError", "Exec lifecycle hook failed", "Error"),
    ("SomethingNew", "of a later version", "Error"),
]


@pytest.mark.parametrize(("waits", "message", "reason"), SAID)
def test_what_others_say_of_a_container(waits: str, message: str, reason: str) -> None:
    told = instance(pod(waiting(waits, message), phase="Pending"))
    assert (told.reason, told.ready, told.state in ("creating", "failed")) == (reason, False, True)
    assert "rpc error" not in (told.message or "")


def test_an_image_that_may_be_private_is_called_so_once_somebody_logged_in() -> None:
    image = waiting("ErrImagePull", f"{DENIED}: server message: insufficient_scope: authorization failed")
    secret = {"imagePullSecrets": [{"name": "login"}]}
    assert instance(pod(image, phase="Pending")).reason == "ImageNotFound"
    assert instance(pod(image, phase="Pending", spec=secret)).reason == "ImagePullFailed"


def test_while_an_attempt_is_waited_for_the_last_failure_is_told() -> None:
    """Otherwise the reason would go back and forth with each attempt."""
    backing_off = pod(waiting("ImagePullBackOff", 'Back-off pulling image "x"'), phase="Pending")
    failures = [
        event("Failed", 'Failed to pull image "x": rpc error: code = NotFound desc = x: not found', 20),
        event("Failed", "Error: ImagePullBackOff", 1),
    ]
    told = instance(backing_off, *failures)
    assert (told.reason, told.message, told.evidence) == ("ImageNotFound", "x: not found", {"image": ""})


def test_a_pull_that_goes_on_is_told() -> None:
    preparing = pod(waiting("ContainerCreating"), phase="Pending")
    pulling = event("Pulling", 'Pulling image "x"', 5)
    assert instance(preparing, pulling).reason == "Pulling"
    assert instance(preparing, pulling, event("Pulled", "Successfully pulled", 1)).reason is None


def test_a_mount_that_went_well_at_last_is_not_told_of() -> None:
    preparing = pod(waiting("ContainerCreating"), phase="Pending")
    failed = event("FailedAttachVolume", "Multi-Attach error for volume", 60, container="")
    assert instance(preparing, failed).reason == "VolumeUnavailable"
    assert instance(preparing, failed, event("Pulling", 'Pulling image "x"', 5)).reason == "Pulling"


def test_a_network_that_cannot_be_made_is_told() -> None:
    failed = event("FailedCreatePodSandBox", "Failed to create pod sandbox: rpc error: no IP addresses", container="")
    told = instance(pod(waiting("ContainerCreating"), phase="Pending"), failed)
    assert (told.reason, told.state) == ("Error", "creating")


class TestCrashes:
    @pytest.mark.parametrize("code", [0, 1, 143])
    def test_memory_that_a_child_ran_out_of_ended_nothing(self, code: int) -> None:
        """Runtimes say OOMKilled whichever process of the container was killed; the exit code is of the main one."""
        told = instance(pod(container(terminated=ended(code, "OOMKilled"))))
        assert (told.reason, told.exit_code, told.evidence["out_of_memory"]) == ("Error", code, True)
        loop = instance(pod(waiting("CrashLoopBackOff", restarts=4, last=ended(code, "OOMKilled"))))
        assert (loop.reason, loop.evidence["out_of_memory"]) == ("CrashLoop", True)

    def test_the_first_end_of_a_container_is_no_loop_and_is_told(self) -> None:
        told = instance(pod(container(terminated=ended(7))))
        assert (told.state, told.reason, told.exit_code) == ("restarting", "Error", 7)
        assert told.message == "It ended with exit code 7, and is started again."
        again = instance(pod(running(since=1, restarts=1, last=ended(7))))
        assert (again.state, again.ready, again.reason) == ("running", False, "Error")
        stayed = instance(pod(running(since=3, restarts=1, last=ended(7))))
        assert (stayed.ready, stayed.reason) == (True, None)

    def test_what_is_probed_after_an_end_is_told_until_it_is_ready(self) -> None:
        probe = {"readinessProbe": PROBE}
        starting = instance(pod(running(since=1, ready=False, restarts=1, last=ended(7)), container=probe))
        assert (starting.health, starting.reason) == ("starting", "Error")
        ready = instance(pod(running(since=1, restarts=1, last=ended(7)), container=probe))
        assert (ready.health, ready.reason) == ("healthy", None)

    def test_what_was_just_started_again_is_still_in_the_loop(self) -> None:
        again = running(since=3, restarts=3, last=ended(1, ago=30))
        told = instance(pod(again))
        assert (told.state, told.ready, told.reason) == ("running", False, "CrashLoop")

    def test_what_stays_for_a_while_is_well_again(self) -> None:
        told = instance(pod(running(since=11, restarts=3, last=ended(1, ago=30))))
        assert (told.ready, told.reason, told.exit_code) == (True, None, 1)

    def test_an_end_after_a_long_time_is_no_loop(self) -> None:
        long_ago = ended(1) | {"startedAt": before(4000)}
        assert instance(pod(container(terminated=long_ago, restarts=1))).reason == "Error"

    @pytest.mark.parametrize("reason", ["ContainerCannotRun", "StartError"])
    def test_a_program_that_is_not_there_is_no_loop(self, reason: str) -> None:
        last = ended(128, reason, message=NO_PROGRAM)
        told = instance(pod(waiting("CrashLoopBackOff", "back-off 5m0s", restarts=9, last=last)))
        assert (told.state, told.reason, told.exit_code) == ("failed", "InvalidSpec", 128)

    @pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
    def test_what_failed_before_the_others_and_then_succeeded_is_no_loop(self, policy: str) -> None:
        first = container("istio-init", terminated=ended(0, "Completed"), restarts=1, last=ended(1))
        spec = {"initContainers": [{"name": "istio-init"}], "restartPolicy": policy}
        told = instance(pod(running(), spec=spec, initContainerStatuses=[first]))
        assert (told.state, told.ready, told.reason) == ("running", True, None)

    def test_what_fails_before_the_others_is_told(self) -> None:
        first = container("istio-init", waiting={"reason": "CrashLoopBackOff"}, restarts=3, last=ended(1))
        spec = {"initContainers": [{"name": "istio-init"}]}
        told = instance(pod(waiting("PodInitializing"), spec=spec, initContainerStatuses=[first]))
        assert (told.reason, told.evidence["container"]) == ("CrashLoop", "istio-init")

    def test_an_init_container_that_runs_on_is_a_sidecar(self) -> None:
        spec = {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]}
        ends = container("proxy", terminated=ended(0, "Completed"), restarts=2)
        told = instance(pod(running(), spec=spec, initContainerStatuses=[ends]))
        assert (told.reason, told.evidence["container"]) == ("CrashLoop", "proxy")

    def test_a_sidecar_is_named(self) -> None:
        side = container("side", waiting={"reason": "CrashLoopBackOff"}, restarts=4, last=ended(2))
        told = instance(pod(running(), side))
        assert (told.reason, told.evidence["container"]) == ("CrashLoop", "side")


class TestProbes:
    def test_healthy_once_it_passed(self) -> None:
        told = instance(pod(running(), container={"readinessProbe": PROBE}))
        assert (told.health, told.ready) == ("healthy", True)

    def test_starting_until_failures_are_enough(self) -> None:
        one = pod(running(since=5, ready=False), container={"readinessProbe": PROBE})
        failing = "Readiness probe failed: no"
        assert instance(one, event("Unhealthy", failing, 2, count=3)).health == "starting"
        told = instance(one, event("Unhealthy", failing, 1, count=4))
        assert (told.health, told.reason, told.evidence) == ("unhealthy", "HealthCheckFailing", {"output": "no"})

    def test_failures_of_the_start_do_not_count(self) -> None:
        annotations = {"annotations": {START_PERIOD: "20"}}
        one = pod(running(since=15, ready=False), metadata=annotations, container={"readinessProbe": PROBE})
        assert instance(one, event("Unhealthy", "Readiness probe failed: no", 1, count=9)).health == "starting"

    def test_a_startup_probe_comes_first(self) -> None:
        probes = {"startupProbe": PROBE | {"failureThreshold": 9}, "readinessProbe": PROBE}
        one = pod(running(since=9, ready=False) | {"started": False}, container=probes)
        assert instance(one, event("Unhealthy", "Startup probe failed: no", 1, count=8)).health == "starting"
        assert instance(one, event("Unhealthy", "Startup probe failed: no", 1, count=9)).health == "unhealthy"

    def test_readiness_that_is_lost_was_lost_for_good_reason(self) -> None:
        one = pod(running(since=400, ready=False), container={"readinessProbe": PROBE | {"periodSeconds": 600}})
        assert instance(one).health == "unhealthy"

    def test_nothing_hangs_on_events(self) -> None:
        one = pod(running(since=200, ready=False), container={"readinessProbe": PROBE})
        assert instance(one).reason == "HealthCheckFailing"

    def test_what_a_probe_killed_did_not_crash(self) -> None:
        last = ended(0, ago=2)
        one = pod(
            waiting("CrashLoopBackOff", restarts=2, last=last),
            container={"livenessProbe": PROBE, "readinessProbe": PROBE},
        )
        killing = event("Killing", "Container main failed liveness probe, will be restarted", 2)
        assert instance(one, killing).reason == "HealthCheckFailing"
        assert instance(one).reason == "CrashLoop"

    def test_the_event_of_an_earlier_run_tells_of_the_last(self) -> None:
        killed = pod(waiting("CrashLoopBackOff", restarts=2, last=ended(137)), container={"livenessProbe": PROBE})
        assert instance(killed, event("Unhealthy", "Liveness probe failed: no", 90)).reason == "HealthCheckFailing"
        assert instance(killed, event("Unhealthy", "Readiness probe failed: no", 90)).reason == "CrashLoop"

    def test_what_the_probe_said_counts_more_than_that_it_could_not_be_run(self) -> None:
        one = pod(running(since=400, ready=False), container={"readinessProbe": PROBE})
        ending = "Readiness probe failed: OCI runtime exec failed: exec failed: cannot exec in a stopped container"
        told = event("Unhealthy", "Readiness probe failed: no", 9), event("Unhealthy", ending, 1)
        assert instance(one, *told).evidence == {"output": "no"}
        assert "stopped" in instance(one, told[1]).evidence["output"]


class TestNodes:
    def test_a_pod_tells_before_its_node_is_looked_at_again(self) -> None:
        told = instance(pod(running(), ready=False))
        assert (told.state, told.reason) == ("unknown", "BackendUnreachable")
        assert told.message == "The node node-1 is away."

    def test_a_gate_that_somebody_added_is_not_the_nodes(self) -> None:
        gates = {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady"}
        conditions = [gates, {"type": "ContainersReady", "status": "True"}]
        told = instance(pod(running(), conditions=conditions))
        assert (told.state, told.ready, told.reason) == ("running", False, None)

    @pytest.mark.parametrize(
        ("why", "message", "reason"),
        [
            ("Evicted", "The node was low on resource: memory. Container main was using 9Gi.", "OutOfMemory"),
            ("Evicted", "The node was low on resource: ephemeral-storage.", "Error"),
            ("OutOfcpu", "Pod Node didn't have enough resource: cpu", "Unschedulable"),
            ("NodeAffinity", "Pod Predicate NodeAffinity failed", "Unschedulable"),
            ("Preempting", "Preempted in order to admit critical pod", "Unschedulable"),
            ("Terminated", "Pod was terminated in response to imminent node shutdown.", "Error"),
        ],
    )
    def test_what_a_node_throws_out_has_failed(self, why: str, message: str, reason: str) -> None:
        told = instance(pod(phase="Failed", reason=why, message=message))
        assert (told.state, told.reason, told.message) == ("failed", reason, message)


PLACED = [
    ("0/3 nodes are available: 1 node(s) had untolerated taint {a: b}, 2 Insufficient memory.", "Unschedulable"),
    (
        "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports. preemption: 0/2 nodes",
        "PortConflict",
    ),
    ("0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/3", "VolumeUnavailable"),
    ("0/3 nodes are available: 3 node(s) didn't find available persistent volumes to bind.", "VolumeUnavailable"),
    ('0/3 nodes are available: persistentvolumeclaim "a" not found. preemption: 0/3', "VolumeUnavailable"),
    ("0/3 nodes are available: 3 node(s) had volume node affinity conflict.", "Unschedulable"),
]


@pytest.mark.parametrize(("message", "reason"), PLACED)
def test_what_schedulers_say(message: str, reason: str) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    told = instance(pod(phase="Pending", spec={"nodeName": ""}, conditions=[condition]))
    assert (told.state, told.reason, told.message) == ("pending", reason, message)


ADMITTED = [
    ('pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1', "QuotaExceeded"),
    ('pods "a" is forbidden: maximum memory usage per Container is 64Mi, but limit is 128Mi', "QuotaExceeded"),
    ('pods "a" is forbidden: failed quota: q: must specify limits.cpu,limits.memory', "InvalidSpec"),
    ('pods "a" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true', "InvalidSpec"),
    ('pods "a" is forbidden: unable to validate against any pod security policy: []', "InvalidSpec"),
    ('admission webhook "policy.example" denied the request: no', "InvalidSpec"),
    ('pods "a" is forbidden: User "system:x" cannot create resource "pods" in API group ""', "PermissionDenied"),
    ('pods "a" is forbidden: error looking up service account blue/default: not found', "Error"),
    ('Pod "a" is invalid: spec.containers[0].image: Required value', "InvalidSpec"),
    ("Internal error occurred: failed calling webhook: connection refused", "Error"),
]


@pytest.mark.parametrize(("message", "reason"), ADMITTED)
def test_what_admission_says(message: str, reason: str) -> None:
    assert reasons.of_admission(message).reason == reason


def deployment(*conditions: dict[str, Any], observed: int = 2) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "generation": 2},
        "spec": {"replicas": 1, "template": {"metadata": {"labels": {naming.HASH: "h"}}}},
        "status": {"observedGeneration": observed, "conditions": list(conditions)},
    }


def test_conditions_count_for_the_generation_they_are_about() -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    told = reasons.of_deployment(deployment(late))
    assert told is not None
    assert (told.reason, told.message) == ("RolloutStuck", "timed out")
    assert reasons.of_deployment(deployment(late, observed=1)) is None
    assert reasons.of_deployment(deployment()) is None


def test_claims_that_cannot_be_had() -> None:
    stuck = recorded_claim()
    told = reasons.of_claim(
        stuck["claim"], found({"events": stuck["events"], "nodes": [], "at": AT.isoformat()}).events
    )
    assert told is not None
    assert (told.reason, told.message) == ("VolumeUnavailable", 'storageclass.storage.k8s.io "nobody" not found')
    assert reasons.of_claim(stuck["claim"], ()) is None
    lost = stuck["claim"] | {"status": {"phase": "Lost"}}
    assert reasons.of_claim(lost, ()) is not None


def recorded_claim() -> Any:
    (claim,) = recorded("claims").values()
    return claim


@pytest.mark.parametrize(
    ("told", "digest"),
    [
        ("docker-pullable://busybox@sha256:9ae9", "busybox@sha256:9ae9"),
        ("docker.io/library/busybox@sha256:9ae9", "docker.io/library/busybox@sha256:9ae9"),
        ("docker://sha256:1f2e", "sha256:1f2e"),
        ("", None),
    ],
)
def test_image_of_a_container_is_what_its_node_resolved_it_to(told: str, digest: str | None) -> None:
    assert instance(pod(running() | {"imageID": told})).digests == ({"main": digest} if digest else {})

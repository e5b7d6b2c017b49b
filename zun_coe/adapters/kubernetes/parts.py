"""The containers of a pod, each with what was asked for, what its kubelet tells, and its events. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from zun_coe.adapters.kubernetes import wire
from zun_coe.adapters.kubernetes.naming import PLACE, place_of
from zun_coe.adapters.kubernetes.podspec import MAIN, START_PERIOD

# What has run for so long since it was started again is taken to stay, as on the other COEs.
STEADY = timedelta(seconds=10)
RECOVERY = timedelta(seconds=2)
# The first restart comes at once; from the second on a kubelet waits before it, and forgets after ten minutes.
CRASHES = 2
FORGOTTEN = timedelta(minutes=10)

# How a run ended that never began: Docker's word, and that of the others.
_NOT_STARTED = frozenset({"ContainerCannotRun", "StartError"})


@dataclass(frozen=True)
class Part:
    """One container. `main`: the one whose limits and exit code are shown. `init`: it runs before the others.
    `policy`: its restart policy. `grace`: in which failures of its probe do not count."""

    spec: wire.Container
    status: wire.ContainerStatus
    events: tuple[wire.Event, ...]
    main: bool = True
    init: bool = False
    policy: str = "Always"
    grace: timedelta = timedelta()

    @property
    def waiting(self) -> wire.Waiting | None:
        """What it waits for."""
        return self.status.state.waiting

    @property
    def terminated(self) -> wire.Terminated | None:
        """How it ended, where it has not been started again."""
        return self.status.state.terminated

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.status.state.running is not None

    @property
    def ended(self) -> wire.Terminated | None:
        """How its last run ended, whether or not it runs again; None where there was none."""
        return self.terminated or self.status.last_state.terminated

    @property
    def started_at(self) -> datetime | None:
        """When its present run began, or else its last one."""
        if self.status.state.running is not None:
            return wire.moment(self.status.state.running.started_at)
        return wire.moment(self.ended.started_at) if self.ended else None

    @property
    def restarts(self) -> int:
        """How often its kubelet started it again."""
        return self.status.restart_count

    @property
    def final(self) -> bool:
        """Whether it has ended, and stays so under its pod's restart policy."""
        if self.terminated is None or self.policy == "Always":
            return False
        return self.policy == "Never" or self.terminated.exit_code == 0

    @property
    def unstartable(self) -> wire.Terminated | None:
        """How its last run ended where it never began: its command is not there, for instance."""
        ended = self.ended
        return ended if ended is not None and ended.reason in _NOT_STARTED and not self.running else None

    @property
    def probed(self) -> bool:
        """Whether anything tells how it does besides its process."""
        return bool(self.spec.readiness_probe or self.spec.liveness_probe or self.spec.startup_probe)

    def since(self, reason: str, start: datetime | None) -> list[wire.Event]:
        """Its events with that reason which happened again, or at last, no earlier than `start`; None: all."""
        return [e for e in self.events if e.reason == reason and (start is None or e.at >= start)]

    def unproven(self, at: datetime) -> timedelta | None:
        """How much longer it has to run to be trusted after a restart; None where it is trusted, or its probes
        tell. What clocks that disagree make of it is no reason to wait."""
        if not self.running or self.restarts == 0 or self.probed or self.started_at is None:
            return None
        left = (STEADY if self.restarts >= CRASHES else RECOVERY) - (at - self.started_at)
        return left if timedelta(0) < left <= STEADY else None

    def looping(self, at: datetime) -> bool:
        """Whether it ends again and again: it waits to be started again, or was just started again. What begins later
        than it is now is of a clock that disagrees."""
        if self.waiting is not None:
            return self.waiting.reason == "CrashLoopBackOff"
        if self.running:
            return self.restarts >= CRASHES and self.started_at is not None and abs(at - self.started_at) < STEADY
        return self.terminated is not None and not self.final and self.restarts > 0 and _short(self.terminated)


def of_pod(pod: wire.Pod, events: Sequence[wire.Event]) -> list[Part]:
    """Its containers: the main one, the others, then those that run before them. What a kubelet has not told of
    yet waits for nothing in particular."""
    spec, status = pod.spec, pod.status
    told = {s.name: s for s in (*status.container_statuses, *status.init_container_statuses)}
    names = [c.name for c in spec.containers]
    place = place_of(pod.metadata.annotations.get(PLACE))
    main = next((n for n in (place.main if place else MAIN, *names) if n in names), MAIN)
    grace = _seconds(pod.metadata.annotations.get(START_PERIOD))

    def part(container: wire.Container, *, init: bool) -> Part:
        own = tuple(e for e in events if e.container == container.name)
        known = told.get(container.name) or wire.ContainerStatus(name=container.name)
        policy = _policy(container, spec.restart_policy) if init else spec.restart_policy
        return Part(container, known, own, container.name == main, init, policy, grace)

    containers = sorted(spec.containers, key=lambda c: c.name != main)
    return [*(part(c, init=False) for c in containers), *(part(c, init=True) for c in spec.init_containers)]


def newest(events: Iterable[wire.Event]) -> wire.Event | None:
    """The one that happened last."""
    return max(events, key=lambda e: e.at, default=None)


def _policy(container: wire.Container, of_pod: str) -> str:
    """How a container that runs before the others is restarted: once it has succeeded it never is, unless it is a
    sidecar, which runs on beside them and says so itself.

    https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#detailed-behavior"""
    return container.restart_policy or ("Never" if of_pod == "Never" else "OnFailure")


def _short(run: wire.Terminated) -> bool:
    if run.started_at is None or run.finished_at is None:
        return True
    return run.finished_at - run.started_at < FORGOTTEN


def _seconds(text: str | None) -> timedelta:
    try:
        return timedelta(seconds=float(text or 0))
    except (ValueError, OverflowError):
        return timedelta()

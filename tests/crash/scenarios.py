"""What is going on while processes are killed: the same scripts for every way of killing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.contract.world import CLUSTER
from tests.crash.story import Story
from tests.simulated import Outside
from zun_coe.engine.housekeeping import Housekeeping
from zun_coe.model import Template, Workload, WorkloadRef

Part = Callable[[Story], None]
STRANGER = "00000000-0000-4000-8000-000000000000"
VOLUME = [{"path": "/data", "volume": {"name": "data"}}]


@dataclass(frozen=True)
class Scenario:
    """`prepare` is done undisturbed; every change that `play` makes is one to be killed at."""

    name: str
    prepare: Part
    play: Part

    def __str__(self) -> str:
        return self.name


def nothing(story: Story) -> None:
    """There is nothing yet."""


def _app(story: Story) -> None:
    story.create("app", "web", replicas=3)
    story.settle()


def _two_revisions(story: Story) -> None:
    _app(story)
    story.patch("web", image="web:2")
    story.settle()


def _container(story: Story) -> None:
    story.create("container", "job")
    story.settle()


def _create_app(story: Story) -> None:
    story.create("app", "web", replicas=2, mounts=VOLUME, ports=[{"port": 80, "publish": "auto"}])
    story.settle()


def _create_container(story: Story) -> None:
    story.create("container", "job", mounts=VOLUME)
    story.settle()


def _run_once(story: Story) -> None:
    story.create("container", "once", command=["true"], restart="never", expect={"phase": "Exited"})
    story.settle()


def _scale(story: Story) -> None:
    story.patch("web", replicas=5)
    story.settle()
    story.patch("web", replicas=1)
    story.settle()
    story.patch("web", replicas=0, expect={"phase": "Stopped"})
    story.settle()


def roll(story: Story) -> None:
    """Another image for an app."""
    story.patch("web", image="web:2")
    story.settle()


def _fail_and_go_back(story: Story) -> None:
    update = {"on_failure": "rollback", "deadline": 4}
    story.patch("web", image="broken:1", update=update, expect={"runs": "web:1"})
    story.settle()


def _roll_back(story: Story) -> None:
    story.rollback("web", 1, "web:1")
    story.settle()


def _roll_back_half_way(story: Story) -> None:
    story.patch("web", image="web:2")
    story.turn(3)
    story.rollback("web", 1, "web:1")
    story.settle()


def _steer(story: Story) -> None:
    story.act("job", "stop", "stopped", "Stopped")
    story.settle()
    story.act("job", "start", "running", "Running")
    story.settle()
    story.act("job", "pause", "paused", "Paused")
    story.settle()
    story.act("job", "unpause", "running", "Running")
    story.act("job", "restart", "running", "Running")
    story.settle()


def _restart(story: Story) -> None:
    story.restart("web")
    story.settle()


def _delete_half_way(story: Story) -> None:
    story.patch("web", image="web:2")
    story.turn(3)
    story.delete("app", "web")
    story.settle()


def delete_with_volumes(story: Story) -> None:
    """An app with its volumes, and a container."""
    story.delete("app", "web", volumes=True)
    story.delete("container", "job")
    story.settle()


def _with_volumes(story: Story) -> None:
    _create_app(story)
    _container(story)


def _forget_and_return(story: Story) -> None:
    """With force the record goes at once; what it leaves in the cluster goes when it is next seen."""
    story.delete("app", "web", force=True)
    story.settle()


def leave_half_done(story: Story, **fields: Any) -> None:
    """A process ends with all kinds of things half done; the fields are those of an app `web`."""
    story.create("app", "web", replicas=3, **fields)
    story.create("app", "old", replicas=2)
    story.create("app", "gone", replicas=2)
    story.create("container", "job")
    story.settle()
    story.patch("web", image="web:2", replicas=4)
    story.turn(2)
    story.delete("app", "old")
    story.delete("app", "gone", force=True)
    story.create("app", "new", replicas=2)


def _leave_a_mess(story: Story) -> None:
    """And others happen while nobody looks."""
    leave_half_done(story)
    outside = Outside(story.site.cluster)
    outside.delete(outside.containers("web")[0].native_id)
    outside.die(outside.containers("job")[0].native_id)


def take_up(story: Story) -> None:
    """The next process finds what the one before left."""
    story.reboot()
    story.settle()


SCENARIOS = (
    Scenario("create-app", nothing, _create_app),
    Scenario("create-container", nothing, _create_container),
    Scenario("run-once", nothing, _run_once),
    Scenario("scale", _app, _scale),
    Scenario("rolling-update", _app, roll),
    Scenario("failing-update", _app, _fail_and_go_back),
    Scenario("rollback", _two_revisions, _roll_back),
    Scenario("rollback-half-way", _app, _roll_back_half_way),
    Scenario("steer-container", _container, _steer),
    Scenario("restart-app", _app, _restart),
    Scenario("delete-during-rollout", _app, _delete_half_way),
    Scenario("delete-with-volumes", _with_volumes, delete_with_volumes),
    Scenario("forget", _app, _forget_and_return),
    Scenario("take-up", _leave_a_mess, take_up),
)


def _unreached(story: Story) -> None:
    _app(story)
    story.site.cluster.faults.away = True


def _away_and_back(story: Story) -> None:
    story.turn(2)
    story.site.cluster.faults.away = False
    story.settle()


def _another_answers(story: Story) -> None:
    """The engine at the address is another one; nothing may be applied until the first is back."""
    identity = story.site.cluster.identity
    story.site.cluster.identity = "another"
    story.reboot()
    story.patch("web", replicas=5)
    story.turn(2)
    story.site.cluster.identity = identity
    story.reboot()
    story.settle()


def _let_go(story: Story) -> None:
    story.delete("app", "web", keep=True)
    story.settle()


def _empty(story: Story) -> None:
    _app(story)
    story.delete("app", "web")
    story.settle()


def _forget_cluster(story: Story) -> None:
    story.delete_cluster()
    story.turn(4)


def _forget_cluster_with_all(story: Story) -> None:
    story.delete_cluster(force=True)
    story.turn(4)


def _stranger(story: Story) -> None:
    """Something that carries our labels, from before a backup was restored."""
    process = story.site.running.process
    cluster = process.gateway.views.named("cluster", "default", CLUSTER).id
    whose = {"installation": process.gateway._tools.installation, "cluster": cluster, "project": "default"}
    ref = WorkloadRef(**whose, noun="app", id=STRANGER, name="stranger")
    story.site.cluster.declare(Workload(ref=ref, template=Template(image="web:1"), hash="0" * 32))


def _look_around(story: Story) -> None:
    story.turn(3)


def _tidy(story: Story) -> None:
    process = story.site.running.process
    settings = replace(process.settings, event_count=3, idempotency_age=0.0)
    story.do(Housekeeping(process.store, process.cache, settings).tidy)


# What needs no story that goes on: each is looked at by itself.
HANDLERS = (
    Scenario("away", _unreached, _away_and_back),
    Scenario("another-engine", _app, _another_answers),
    Scenario("let-go", _app, _let_go),
    Scenario("forget-cluster", _empty, _forget_cluster),
    Scenario("forget-cluster-with-all", _with_volumes, _forget_cluster_with_all),
    Scenario("stranger", _stranger, _look_around),
    Scenario("tidy", _app, _tidy),
)

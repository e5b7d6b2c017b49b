"""Every handler, cut off at each change that it makes and run again by the same process, comes to the same
end: the same records, the same things in the cluster, the same events, each told once."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.crash.clockwork import Site
from tests.crash.life import Killed, Moment
from tests.crash.scenarios import HANDLERS, SCENARIOS, Scenario
from tests.crash.story import Story, begin
from zun_coe.model import Event, Intent, Status
from zun_coe.process import Process

pytestmark = pytest.mark.usefixtures("engines_by_hand")
PASSING = ("InstanceStarted", "InstanceReady", "InstanceNotReady")
EVERYTHING = (*SCENARIOS, *HANDLERS)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("scenario", EVERYTHING, ids=str)
def test_aborted_at_every_change(scenario: Scenario, moment: Moment, folder: Path) -> None:
    undisturbed = outcome(scenario, moment, 0, folder)
    for n in count(1):
        aborted = outcome(scenario, moment, n, folder)
        assert aborted["state"] == undisturbed["state"], f"aborted {moment} change {n}: {aborted['changes']}"
        if not aborted["aborted"]:
            break
    assert n > 1, "nothing was aborted"


def outcome(scenario: Scenario, moment: Moment, n: int, folder: Path) -> dict[str, Any]:
    """Play a scenario, aborted at its n-th change (0: not at all): what it comes to."""
    place = folder / str(n)
    place.mkdir()
    story = begin(Site(place), scenario.prepare)
    life = story.site.running.life
    life.end_at(n, moment, fatal=False)
    persistent = Persistent(story)
    try:
        scenario.play(persistent)
        changes = life.changes[:n]
        life.end_at(0, moment)
        return {"aborted": persistent.aborted, "state": state(story), "changes": changes}
    finally:
        story.site.close()


class Persistent(Story):
    """A story whose every step is taken again when it was aborted, once the copy of the store has caught up."""

    def __init__(self, story: Story) -> None:
        super().__init__(story.site, story.wanted, story.pending, story.answered, story.forgotten)
        self.aborted = False

    def do(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Killed:
            self.aborted = True
            self.site.running.catch_up()
            step()


def state(story: Story) -> dict[str, Any]:
    """All that can be seen in the end, without what is different each time: ids and times."""
    story.site.running.catch_up()
    process = story.site.running.process
    keys = sorted(anonymous(process, e.key) for e in process.cache.list("") if not e.key.startswith("event/"))
    groups = sorted(
        (g.ref.name, sorted((c.slot, c.template.image, c.state, c.restarts) for c in g.containers.values()))
        for g in story.site.cluster.groups()
    )
    return {"keys": keys, "groups": groups, "records": records(process), "events": told(process)}


def records(process: Process) -> list[Any]:
    """The workloads, as far as they are the same each time."""
    views = process.gateway.views
    found = [r for noun in ("app", "container") for r in views.ordered(noun, None)]
    return [(r.noun, *_intent(r.intent), *_status(r.status)) for r in found]


def told(process: Process) -> dict[str, Counter[tuple[str, Any]]]:
    """How often everything was told of each thing; but what it went through depends on when one looked."""
    events: dict[str, Counter[tuple[str, Any]]] = defaultdict(Counter)
    for stored in process.gateway.views.events(None):
        event: Event = stored.event
        if "phase" not in event.data and event.type not in PASSING:
            events[event.subject_name][event.type, event.data.get("slot")] += 1
    return dict(events)


def anonymous(process: Process, key: str) -> str:
    """A key with names in place of ids."""
    views = process.gateway.views
    parts = key.split("/")
    for place, part in enumerate(parts):
        for noun in ("app", "container", "volume", "cluster"):
            if found := views.get(noun, part):
                parts[place] = found.intent.name
    return re.sub(r"[0-9a-f]{8,}[-0-9a-f]*", "ID", "/".join(parts))


def _intent(intent: Intent) -> tuple[Any, ...]:
    return intent.name, intent.template.image, intent.replicas, intent.desired_state, intent.restarts, intent.generation


def _status(status: Status) -> tuple[Any, ...]:
    slots = sorted((i.slot, i.state, i.ready) for i in status.instances)
    rollout = status.rollout.state if status.rollout else None
    return status.phase, status.reason, status.observed_generation, status.revision, rollout, slots

"""What must hold once everything has settled, whatever was killed on the way there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import cast

from tests.crash.story import Name, State, Story, Wanted
from zun_coe.gateway.views import Resource
from zun_coe.model import Cluster, Event, Instance, Intent, Observation, Status
from zun_coe.model.status import effective_hash
from zun_coe.process import Process
from zun_coe.store.records import name_key, revision_key

NOUNS = ("app", "container", "volume")


def check(story: Story) -> None:
    """Everything below."""
    process = story.site.running.process
    wanted = records_hold(process, story)
    records_are_whole(process)
    observed = nothing_is_left_over(process, story)
    for name, one in wanted.items():
        found = named(process, name)
        seen = observed.get(found.id)
        runs_as_wanted(found, one, seen)
        status_is_true(found, one)
        told = [e for e in events(process) if e.subject_id == found.id]
        end_in_the_state(told, found.status.phase, seen.instances if seen else ())
    are_a_story(events(process), {r.id for r in workloads(process)})
    assert set(story.answered) <= {e.request_id for e in events(process)}, "an answered request left no event"


def records_hold(process: Process, story: Story) -> State:
    """Every acknowledged write is there; one that was not answered is there in whole or not at all."""
    there = {name_of(r): asked_for(cast(Intent, r.intent)) for r in workloads(process)}
    fitting = [s for s in story.possible if {n: brief(w) for n, w in s.items()} == there]
    assert fitting, f"the records say {there}, and these were asked for: {story.possible}"
    return fitting[-1]


def records_are_whole(process: Process) -> None:
    """Names lead to what has them, and nothing refers to what is not there."""
    cache = process.cache
    ids = {(r.noun, r.id): r.intent for r in workloads(process) + volumes(process)}
    for (noun, id), intent in ids.items():
        entry = cache.get(name_key(noun, intent.project, intent.name))
        assert entry is not None, f"{noun} {intent.name} has no name"
        assert entry.value == id
        assert intent.deletion is None, f"{noun} {intent.name} is still marked"
        for volume in getattr(intent, "volumes", {}).values():
            assert ("volume", volume) in ids, f"{noun} {intent.name} mounts a volume without a record"
    for entry in cache.list("name/"):
        noun = entry.key.split("/")[1]
        assert noun not in NOUNS or (noun, entry.value) in ids, f"{entry.key} leads nowhere"
    for entry in cache.list("status/"):
        _, noun, _, id = entry.key.split("/")
        assert noun not in NOUNS or (noun, id) in ids, f"{entry.key} is the status of nothing"
    for entry in cache.list("revision/"):
        assert ("app", entry.key.split("/")[2]) in ids, f"{entry.key} is a revision of nothing"
    for resource in workloads(process):
        if resource.noun == "app":
            key = revision_key(resource.intent.project, resource.id, resource.intent.revision)
            assert cache.get(key) is not None, f"{key} is missing"


def nothing_is_left_over(process: Process, story: Story) -> dict[str, Observation]:
    """Everything in the cluster is known to a record. What is there, by the id of what it belongs to."""
    observed = {o.ref.id: o for o in seen_by_nobody(process, story)}
    unknown = set(observed) - {r.id for r in workloads(process)}
    assert not unknown, f"no record knows {[observed[id].ref.name for id in unknown]}"
    made = {id for _, id in story.site.cluster.volumes}
    assert made <= {r.id for r in volumes(process)}, "a volume is left that no record knows"
    return observed


def seen_by_nobody(process: Process, story: Story) -> list[Observation]:
    """What is in the cluster, asked of itself."""
    (cluster,) = [cast(Cluster, r.intent) for r in process.gateway.views.ordered("cluster", None)]
    return story.site.cluster.read_all(process.gateway._tools.installation, cluster.id, process.vault.label_key)


def runs_as_wanted(found: Resource, wanted: Wanted, observation: Observation | None) -> None:
    """What was acknowledged last runs, so often and no oftener."""
    intent, status = cast(Intent, found.intent), cast(Status, found.status)
    instances = observation.instances if observation else ()
    name = intent.name
    assert not [i for i in instances if i.state == "removing"], f"{name} has something on its way out"
    if found.noun == "container":
        states = {"running": "running", "stopped": "exited", "paused": "paused"}
        state = "exited" if wanted.phase == "Exited" else states[wanted.state]
        assert [i.state for i in instances] == [state], f"{name}: {instances}"
        return
    number = wanted.replicas if wanted.state == "running" else 0
    assert Counter(i.slot for i in instances) == Counter(range(1, number + 1)), f"{name}: {instances}"
    assert {i.hash for i in instances} <= {effective_hash(intent, status)}, f"{name} runs another template"
    assert all(i.ready for i in instances), f"{name}: {instances}"


def status_is_true(found: Resource, wanted: Wanted) -> None:
    """The state that is shown is that of the newest generation, and the one there is."""
    intent, status = cast(Intent, found.intent), cast(Status, found.status)
    assert (status.phase, status.observed_generation) == (wanted.phase, intent.generation), f"{intent.name}: {status}"
    if found.noun == "app" and wanted.running != wanted.image:
        assert status.rollout is not None, f"{intent.name}: {status}"
        assert status.rollout.state == "rolled_back", f"{intent.name}: {status}"
    elif found.noun == "app":
        assert status.rollout is None, f"{intent.name}: {status.rollout}"
        assert status.revision == intent.revision, f"{intent.name}: {status}"
    else:
        assert status.restarted == intent.restarts, f"{intent.name}: {status}"


def end_in_the_state(told: Sequence[Event], phase: str, instances: Sequence[Instance]) -> None:
    """The last that was told of something is so: its phase, and each of its instances."""
    phases = [e.data["phase"] for e in told if "phase" in e.data]
    assert phases[-1:] == [phase], f"it was told to be {phases}"
    created, removed = by_instance(told, "InstanceCreated"), by_instance(told, "InstanceRemoved")
    assert set(created.values()) <= {1}, f"told twice: {created}"
    assert set(removed.values()) <= {1}, f"told twice: {removed}"
    assert set(created) - set(removed) == {i.native_id for i in instances}, f"{created} minus {removed}: {instances}"
    for instance in instances:
        own = [e.type for e in told if e.data.get("native_id") == instance.native_id]
        life = {"InstanceStarted": "running", "InstanceExited": "exited", "InstancePaused": "paused"}
        life["InstanceReachable"] = "running"
        states = [life[type] for type in own if type in life]
        # What was never seen to run was made so: a container that is created stopped.
        assert states[-1:] in ([instance.state], [] if instance.state == "exited" else None), f"{instance}: {own}"
        readiness = [type for type in own if type in ("InstanceReady", "InstanceNotReady")]
        if instance.state == "running":
            assert readiness[-1:] == (["InstanceReady"] if instance.ready else []), f"{instance}: {own}"


def are_a_story(told: Sequence[Event], there: Collection[str], forgotten: Collection[str] = ()) -> None:
    """Each thing begins with its creation and, where it is not `there` by its id any more, ends with its
    deletion, with all of its instances told of as removed, but where it was `forgotten` by its name."""
    by_subject: dict[str, list[Event]] = {}
    for event in told:
        if event.subject in ("app", "container"):
            by_subject.setdefault(event.subject_id, []).append(event)
    for id, own in by_subject.items():
        types, noun, name = [e.type for e in own], own[0].subject.title(), own[0].subject_name
        assert types[0] == f"{noun}Created", types
        assert types.count(f"{noun}Created") == 1, types
        ends = types.count(f"{noun}Deleted")
        assert ends == (id not in there), f"{name}: {types}"
        if ends:
            assert types[-1] == f"{noun}Deleted", types
        if ends and name not in forgotten:
            created, removed = by_instance(own, "InstanceCreated"), by_instance(own, "InstanceRemoved")
            assert created == removed, f"{name} is gone, and its instances were not told of: {types}"


def by_instance(told: Sequence[Event], type: str) -> Counter[str]:
    """How often this was told of each instance."""
    return Counter(e.data["native_id"] for e in told if e.type == type)


def events(process: Process) -> list[Event]:
    """All events, in their order."""
    return [stored.event for stored in process.gateway.views.events(None)]


def workloads(process: Process) -> list[Resource]:
    """All apps and containers."""
    return [r for noun in ("app", "container") for r in process.gateway.views.ordered(noun, None)]


def volumes(process: Process) -> list[Resource]:
    """All volumes."""
    return list(process.gateway.views.ordered("volume", None))


def named(process: Process, name: Name) -> Resource:
    """The app or container of this name."""
    found = process.gateway.views.named(name[0], "default", name[1])
    assert found is not None
    return found


def name_of(resource: Resource) -> Name:
    """What it is called."""
    return cast(Name, (resource.noun, resource.intent.name))


def asked_for(intent: Intent) -> tuple[str, int, str, int]:
    """What a record says that was asked for."""
    return intent.template.image, intent.replicas, intent.desired_state, intent.restarts


def brief(wanted: Wanted) -> tuple[str, int, str, int]:
    """The same, of what the user asked for."""
    return wanted.image, wanted.replicas, wanted.state, wanted.restarts

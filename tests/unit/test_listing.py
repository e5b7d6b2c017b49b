"""Lists: the same as if everything had been looked at, sorted and filtered, however they are asked for; and
without looking at everything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zun_coe.errors import Malformed
from zun_coe.gateway import Query, indexes, listing
from zun_coe.gateway.chronicle import Chronicle, StoredEvent, fits
from zun_coe.gateway.entries import Found, Replica, phase_of
from zun_coe.gateway.listing import PUBLIC, SORTS
from zun_coe.gateway.views import Views
from zun_coe.model import Cluster, Deletion, Event, Instance, Intent, Status, Template, Value, Volume
from zun_coe.store.cache import Entry, Update
from zun_coe.store.records import intent_key, status_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROJECTS = ("p", "q")
PHASES = ("Running", "Failed", "Pending")
FILTERS: Sequence[tuple[str, str]] = (
    *(("name", name) for name in ("a", "b", "a-1", "none")),
    *(("phase", phase) for phase in (*PHASES, "Deleting", "Restarting")),
    *(("app", app) for app in ("a", "00000000-0000-4000-8000-000000000001")),
    *(("label", label) for label in ("x", "x=1", "x=1,y", "y=2", "z")),
    *(("cluster", cluster) for cluster in ("c0", "c1", "here", "none")),
)


def identity(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012}"


class Grown:
    """Views that change after change has come to."""

    def __init__(self) -> None:
        self.views, self.entries, self.revision = Views(), dict[str, Entry](), 0
        for n, name in enumerate(("here", "there")):
            cluster = Cluster(id=f"c{n}", project="p", name=name, kind="native", created_at=NOW, updated_at=NOW)
            self.put(intent_key("cluster", "p", cluster.id), cluster)

    def put(self, key: str, value: Value | None) -> None:
        self.revision += 1
        before = self.entries.pop(key, None)
        after = Entry(key, value, self.revision, before.created if before else self.revision) if value else None
        if after is not None:
            self.entries[key] = after
        if before or after:
            self.views.listener(self.revision, [Update(key, before, after)])


times = st.integers(0, 3).map(lambda n: NOW + timedelta(seconds=n))
labels = st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"))
intents = st.builds(
    dict[str, Any],
    name=st.sampled_from("abc"),
    cluster=st.sampled_from(["c0", "c1"]),
    created_at=times,
    updated_at=times,
    labels=labels,
    deletion=st.none() | st.just(Deletion(at=NOW)),
)
instances = st.lists(
    st.builds(
        Instance,
        native_id=st.sampled_from("uvw"),
        slot=st.integers(1, 3),
        state=st.sampled_from(["running", "failed", "exited"]),
        created_at=st.none() | times,
        started_at=st.none() | times,
    ),
    max_size=3,
    unique_by=lambda instance: instance.native_id,
)
statuses = st.builds(Status, phase=st.sampled_from(PHASES), instances=instances.map(tuple))
changes = st.tuples(
    st.sampled_from(["app", "container"]),
    st.sampled_from(PROJECTS),
    st.integers(0, 4),
    st.none() | intents | statuses,
    st.booleans(),
)
queries = st.builds(
    Query,
    sort=st.sampled_from([*SORTS, *(f"-{field}" for field in SORTS)]),
    limit=st.integers(1, 4),
    filters=st.lists(st.sampled_from(FILTERS), max_size=3).map(dict),
)


def apply(grown: Grown, noun: Any, project: str, n: int, drawn: Any, of_status: bool) -> None:
    """Something drawn at random happens to the app or the container of a number."""
    id = identity(n + 10 * (project == "q") + 100 * (noun == "container"))
    if drawn is None:
        grown.put((status_key if of_status else intent_key)(noun, project, id), None)
    elif isinstance(drawn, Status):
        grown.put(status_key(noun, project, id), drawn)
    else:
        grown.put(
            intent_key(noun, project, id),
            Intent(noun=noun, id=id, project=project, template=Template(image="i"), **drawn),
        )


def everything(views: Views, noun: str, project: str | None) -> list[Found]:
    found: list[Found] = list(views.ordered(noun, project))
    if noun == "container":
        found += [r for app in views.ordered("app", project) for r in views.replicas(app)]
    return found


def naive(views: Views, noun: str, project: str | None, query: Query) -> list[str]:
    """What a list has to be, by looking at all there is."""

    def meets(found: Found, name: str, wanted: str) -> bool:
        intent = found.app.intent if isinstance(found, Replica) else found.intent
        if name == "cluster":
            return wanted in (intent.cluster, views.cluster_name(intent.cluster))
        if name == "label":
            parts = [part.partition("=") for part in wanted.split(",")]
            return all(k in intent.labels and (not eq or intent.labels[k] == v) for k, eq, v in parts)
        if name == "app":
            return isinstance(found, Replica) and wanted in (intent.id, intent.name)
        if name == "phase":
            return phase_of(found) == wanted
        return bool((found.name if isinstance(found, Replica) else intent.name) == wanted)

    field = query.sort.removeprefix("-")
    fitting = [f for f in everything(views, noun, project) if all(meets(f, *item) for item in query.filters.items())]
    fitting.sort(key=lambda f: (listing.key_of(f, field), f.id), reverse=query.sort.startswith("-"))
    return [f.id for f in fitting]


def paged(views: Views, noun: str, project: str | None, query: Query) -> list[str]:
    """A list by its pages."""
    seen: list[str] = []
    marker: str | None = None
    while True:
        asked = Query(limit=query.limit, sort=query.sort, filters=query.filters, marker=marker)
        found, marker = views.page(noun, (project,), asked)
        assert len(found) <= query.limit
        seen += [f.id for f in found]
        if marker is None:
            return seen


@settings(max_examples=300)
@given(
    st.lists(changes, max_size=15),
    st.lists(changes, max_size=10),
    queries,
    st.sampled_from(["app", "container"]),
    st.sampled_from([*PROJECTS, None]),
    st.sampled_from([0, 2, 1000]),
)
def test_a_list_is_what_looking_at_everything_would_find(
    first: list[Any], then: list[Any], query: Query, noun: str, project: str | None, few: int
) -> None:
    """Whether its order and its filters were made before or after something changed, and whichever way is taken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexes, "FEW", few)
        grown = Grown()
        for change in first:
            apply(grown, *change)
        assert paged(grown.views, noun, project, query) == naive(grown.views, noun, project, query)
        for change in then:
            apply(grown, *change)
        assert paged(grown.views, noun, project, query) == naive(grown.views, noun, project, query)


@given(st.lists(changes, min_size=5, max_size=15), queries, st.integers(0, 4))
def test_a_page_goes_on_although_what_it_ended_with_is_gone(drawn: list[Any], query: Query, n: int) -> None:
    grown = Grown()
    for change in drawn:
        apply(grown, *change)
    asked = Query(limit=query.limit, sort=query.sort)
    found, marker = grown.views.page("app", (None,), asked)
    if marker is None:
        return
    last = found[-1]
    project = last.intent.project  # type: ignore[union-attr]  # it is an app
    grown.put(intent_key("app", project, last.id), None)
    rest, _ = grown.views.page("app", (None,), Query(limit=1000, sort=query.sort, marker=marker))
    assert [f.id for f in rest] == naive(grown.views, "app", None, asked)[query.limit - 1 :]


@pytest.mark.parametrize("marker", ["~", "~x", "~" + "A" * 20, "nobody", "~WyJuYW1lIiwxLDJd"])
def test_a_marker_that_is_none_is_refused(marker: str) -> None:
    with pytest.raises(Malformed, match="begin again"):
        Grown().views.page("cluster", ("p",), Query(marker=marker))


def test_a_marker_belongs_to_its_order() -> None:
    views = Grown().views
    _, marker = views.page("cluster", ("p",), Query(limit=1, sort="name"))
    with pytest.raises(Malformed, match="sorted by name"):
        views.page("cluster", ("p",), Query(marker=marker))


def test_what_everybody_sees_is_listed_once() -> None:
    grown = Grown()
    for n, (project, public) in enumerate([("p", True), ("p", False), ("q", True), ("q", False)]):
        record = Cluster(
            id=f"d{n}", project=project, name=f"d{n}", kind="native", created_at=NOW, updated_at=NOW, public=public
        )
        grown.put(intent_key("cluster", project, record.id), record)
    for sort in ("name", "-name"):
        found, _ = grown.views.page("cluster", ("p", PUBLIC), Query(sort=sort))
        names = sorted(["d0", "d1", "d2", "here", "there"], reverse=sort == "-name")
        assert [f.intent.name for f in found] == names  # type: ignore[union-attr]  # they are clusters


@pytest.fixture(scope="module")
def views() -> Views:
    """Three thousand apps with a replica each, in lists that were asked for before."""
    grown = Grown()
    for n in range(3000):
        labels = {"x": str(n % 2), "tier": "web"}
        intent = {"name": f"app-{n}", "cluster": "c0", "created_at": NOW + timedelta(seconds=n), "updated_at": NOW}
        apply(grown, "app", "p", n, intent | {"labels": labels}, False)
        apply(grown, "app", "p", n, Status(phase="Running", instances=(Instance(native_id="u", slot=1),)), True)
    for sort in SORTS:
        grown.views.page("container", ("p",), Query(sort=sort))
    for name, value in FILTERS:
        grown.views.page("container", ("p",), Query(filters={name: value}))
    return grown.views


class TestWork:
    """What one page costs does not grow with what there is."""

    @pytest.mark.parametrize("sort", [*SORTS, *(f"-{field}" for field in SORTS)])
    @pytest.mark.parametrize(
        "filters", [{}, {"name": "app-7-1"}, {"app": "app-9"}, {"label": "x=1"}, {"cluster": "here"}, {"phase": "Gone"}]
    )
    def test_of_a_page(self, views: Views, sort: str, filters: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        looked: list[str] = []
        found = views._found
        index = views._lists["container"]
        monkeypatch.setattr(index, "_find", lambda id: looked.append(id) or found("container", id))
        monkeypatch.setattr(index, "_items", lambda _: pytest.fail("everything is looked at"))
        for n in (1, 10):
            looked.clear()
            views.page("container", ("p",), Query(limit=n, sort=sort, filters=filters))
            assert len(looked) <= 2 * (n + 1)

    def test_of_a_change(self, views: Views, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of a status, where all but one of the instances are as they were."""
        app = views.named("app", "p", "app-5")
        assert app is not None
        changed: list[Any] = []
        monkeypatch.setattr(views._lists["container"], "change", lambda *pair: changed.append(pair))
        running = tuple(Instance(native_id=f"n{n}", slot=n) for n in range(1, 500))
        for revision, instances in enumerate([running, (*running[:-1], Instance(native_id="new", slot=499))]):
            changed.clear()
            key = status_key("app", "p", app.id)
            entry = Entry(key, Status(phase="Running", instances=instances), 10_000 + revision, 1)
            views.listener(10_000 + revision, [Update(key, None, entry)])
        assert len(changed) == 2


def stored(n: int, project: str = "p", **fields: str) -> StoredEvent:
    kept = {"type": "T", "subject": "app", "subject_id": "1", "subject_name": "a"} | fields
    return StoredEvent((n, 0), Event(project=project, at=NOW, message="m", **kept))  # type: ignore[arg-type]  # of texts


events = st.lists(
    st.builds(
        stored,
        st.integers(1, 30),
        project=st.sampled_from(PROJECTS),
        type=st.sampled_from(["T", "U"]),
        subject_id=st.sampled_from("12"),
        subject_name=st.sampled_from("12ab"),
        level=st.sampled_from(["info", "warning"]),
    ),
    unique_by=lambda one: one.order,
)
event_filters = st.dictionaries(
    st.sampled_from(["resource", "type", "level", "nothing"]), st.sampled_from(["1", "a", "T", "U", "info", "x"])
)


@given(events, events, event_filters, st.sampled_from([*PROJECTS, None]), st.booleans(), st.none() | st.integers(0, 30))
def test_events_by_filters(
    first: list[StoredEvent],
    then: list[StoredEvent],
    filters: dict[str, str],
    project: str | None,
    newest_first: bool,
    behind: int | None,
) -> None:
    chronicle = Chronicle()
    chronicle.change([], first)
    list(chronicle.fitting(project, filters))  # what it needs is made, and kept from now on
    chronicle.change(first[::2], [one for one in then if one.order not in {f.order for f in first}])
    kept = sorted([*chronicle.of(None)], key=lambda one: one.order, reverse=newest_first)
    wanted = [one for one in kept if project in (None, one.event.project) and fits(one.event, filters)]
    place = None if behind is None else (behind, 0)
    if place is not None:
        wanted = [one for one in wanted if (one.order < place if newest_first else one.order > place)]
    assert list(chronicle.fitting(project, filters, place, newest_first=newest_first)) == wanted


def test_events_of_one_resource_are_found_without_looking_at_others(monkeypatch: pytest.MonkeyPatch) -> None:
    chronicle = Chronicle()
    chronicle.change([], [stored(n, subject_id=str(n)) for n in range(1000)])
    list(chronicle.fitting("p", {"resource": "7", "type": "T"}))
    looked: list[Any] = []
    monkeypatch.setattr("zun_coe.gateway.chronicle.fits", lambda event, _: looked.append(event) or True)
    assert [one.order for one in chronicle.fitting("p", {"resource": "7", "type": "T"})] == [(7, 0)]
    assert len(looked) == 1


def test_the_names_of_those_who_mount_a_volume() -> None:
    grown = Grown()
    volume = Volume(id="v", project="p", name="data", cluster="c0", created_at=NOW, updated_at=NOW)
    grown.put(intent_key("volume", "p", "v"), volume)
    intent = Intent(
        noun="app",
        id=identity(1),
        project="p",
        name="a",
        cluster="c0",
        template=Template(image="i"),
        created_at=NOW,
        updated_at=NOW,
        volumes={"data": "v"},
    )
    grown.put(intent_key("app", "p", intent.id), intent)
    assert grown.views.users_of(volume) == ["a"]
    found = grown.views.get("volume", "v")
    assert found is not None
    assert json.loads(grown.views.body(found))["used_by"] == ["a"]
    grown.put(intent_key("app", "p", intent.id), None)
    assert grown.views.users_of(volume) == []

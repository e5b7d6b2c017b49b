"""What reads are answered from: the same whether it grew change by change or was made at once; pages that
neither miss nor repeat anything; names that the contract and the gateway understand alike."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.api.contract import document
from zun_coe.auth import Principal
from zun_coe.errors import Malformed
from zun_coe.gateway import Call, Query
from zun_coe.gateway.keeping import Secrets
from zun_coe.gateway.resources import Tools
from zun_coe.gateway.specs import is_name
from zun_coe.gateway.views import Views
from zun_coe.model import Instance, Intent, Secret, Status, Template, Value
from zun_coe.store.cache import Entry, Update
from zun_coe.store.records import intent_key, status_key

NAME: Any = document()["components"]["schemas"]["Name"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
IDS = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(6)]


def app(id: str, name: str, age: int) -> Intent:
    return Intent(
        noun="app",
        id=id,
        project="p",
        name=name,
        cluster="c",
        template=Template(image="i"),
        created_at=NOW + timedelta(seconds=age),
        updated_at=NOW,
    )


def status(natives: list[str]) -> Status:
    return Status(instances=tuple(Instance(native_id=n, slot=s) for s, n in enumerate(natives, 1)))


keys = st.sampled_from(IDS)
values: st.SearchStrategy[tuple[str, Value | None]] = st.one_of(
    st.tuples(
        keys.map(lambda id: intent_key("app", "p", id)),
        st.none() | st.tuples(st.sampled_from("abc"), st.integers(0, 3)),
    ),
    st.tuples(
        keys.map(lambda id: status_key("app", "p", id)),
        st.none() | st.lists(st.sampled_from(["x", "y", "z"]), unique=True),
    ),
).map(lambda drawn: (drawn[0], _value(*drawn)))


def _value(key: str, drawn: Any) -> Value | None:
    if drawn is None:
        return None
    return status(drawn) if key.startswith("status") else app(key.rsplit("/", 1)[1], *drawn)


def _update(entries: dict[str, Entry], key: str, value: Value | None, revision: int) -> Update:
    before = entries.get(key)
    after = Entry(key, value, revision, before.created if before else revision) if value is not None else None
    if after is None:
        entries.pop(key, None)
    else:
        entries[key] = after
    return Update(key, before, after)


def shown(views: Views) -> Any:
    """Everything that can be seen of the apps."""
    ordered = [r.id for r in views.ordered("app", "p")]
    bodies = {id: views.body(r) for id in IDS if (r := views.get("app", id))}
    replicas = {r.id for id in IDS if (app := views.get("app", id)) for r in views.replicas(app)}
    found = {id for id in replicas if views.replica(id)}
    carried = sorted(r.id for r in views.on_cluster("c"))
    return ordered, [r.id for r in views.ordered("app", None)], bodies, replicas == found, carried


@given(st.lists(st.lists(values, max_size=4, unique_by=lambda drawn: drawn[0]), max_size=12))
def test_growing_comes_to_the_same_as_being_made_at_once(history: list[list[tuple[str, Value | None]]]) -> None:
    views, entries = Views(), dict[str, Entry]()
    for revision, changes in enumerate(history, 1):
        updates = [_update(entries, key, value, revision) for key, value in changes]
        views.listener(revision, [u for u in updates if u.before or u.after])
    fresh = Views()
    fresh.listener(99, [Update(key, None, entry) for key, entry in sorted(entries.items())])
    assert shown(views) == shown(fresh)


def secrets_of(ages: list[int]) -> tuple[Secrets, list[Secret]]:
    views = Views()
    kept = [
        Secret(id=f"{n:032x}", project="p", name=f"s{n}", keys=("k",), data="", created_at=NOW + timedelta(seconds=age))
        for n, age in enumerate(ages)
    ]
    entries = [Entry(f"secret/p/{one.id}", one, 1, 1) for one in kept]
    views.listener(1, [Update(e.key, None, e) for e in entries])
    tools = Tools(*[cast(Any, None)] * 2, views, *[cast(Any, None)] * 3, "i")
    return Secrets(tools), kept


@given(
    st.lists(st.integers(0, 5), max_size=30),
    st.integers(1, 7),
    st.sampled_from(["created_at", "name", "id"]),
    st.booleans(),
)
def test_pages_miss_nothing_and_repeat_nothing(ages: list[int], limit: int, field: str, down: bool) -> None:
    secrets, kept = secrets_of(ages)
    call = Call(Principal(project="p"), "req")
    seen: list[str] = []
    marker: str | None = None
    while True:
        query = Query(limit=limit, marker=marker, sort=f"-{field}" if down else field)
        page = json.loads(secrets.list(call, query).body or b"")
        assert len(page["secrets"]) <= limit
        seen += [one["id"] for one in page["secrets"]]
        marker = page.get("next")
        if marker is None:
            break
    order = sorted(kept, key=lambda one: (getattr(one, field), one.id), reverse=down)
    assert seen == [one.id for one in order]


def test_a_marker_that_is_gone_is_told() -> None:
    secrets, _ = secrets_of([1, 2])
    with pytest.raises(Malformed, match="begin again"):
        secrets.list(Call(Principal(project="p"), "req"), Query(marker="nobody"))


@given(st.text(alphabet="aZ-9._ ", max_size=8) | st.from_regex(r"[a-z][-a-z0-9]{0,70}", fullmatch=True))
def test_names_are_the_contracts_names(text: str) -> None:
    schema = NAME
    fits = bool(re.fullmatch(schema["pattern"], text)) and len(text) <= schema["maxLength"]
    assert is_name(text) == fits

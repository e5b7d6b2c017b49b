"""What a user does in a scenario, what was answered, and so what must be so in the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tests.contract.world import CLUSTER, call
from tests.crash.clockwork import Site
from zun_coe.errors import NotFound
from zun_coe.gateway import Answer, Call

Noun = Literal["app", "container"]
Name = tuple[Noun, str]


@dataclass(frozen=True)
class Wanted:
    """What was asked for. `runs`: the image that must run in the end, where it is another than the one
    asked for; `phase`: the phase in the end."""

    image: str = "web:1"
    replicas: int = 1
    state: str = "running"
    restarts: int = 0
    runs: str | None = None
    phase: str = "Running"

    @property
    def running(self) -> str:
        """The image that must run in the end."""
        return self.runs or self.image


State = dict[Name, Wanted]


@dataclass(frozen=True)
class Act:
    """One request, to be sent again as it is, and what is wanted once it was accepted."""

    request: str
    send: Callable[[], Answer]
    after: State


@dataclass
class Story:
    """A user at a site. `wanted`: what was acknowledged; `pending`: a request that was not answered;
    `answered`: the ids of the requests that were; `forgotten`: what was deleted with force or kept, so that
    nobody saw the end of it."""

    site: Site
    wanted: State = field(default_factory=dict)
    pending: Act | None = None
    answered: list[str] = field(default_factory=list)
    forgotten: set[str] = field(default_factory=set)

    @property
    def possible(self) -> list[State]:
        """The states that may be wanted, as far as the user knows."""
        return [self.wanted] + ([self.pending.after] if self.pending else [])

    # What the user does.

    def create(self, noun: Noun, name: str, *, expect: Mapping[str, Any] | None = None, **fields: Any) -> None:
        """Create it. `expect`: what of `Wanted` does not follow from the fields."""
        wanted = Wanted(**_wanted({"image": "web:1"} | fields, expect))
        body = {"name": name, "cluster": CLUSTER, "image": "web:1"} | fields
        self._do({(noun, name): wanted}, lambda cases, call: cases[noun].create(call, body))

    def patch(self, name: str, *, expect: Mapping[str, Any] | None = None, **fields: Any) -> None:
        """Change an app."""
        after = replace(self.wanted["app", name], **_wanted(fields, expect))
        self._do({("app", name): after}, lambda cases, call: cases["app"].patch(call, name, fields))

    def act(self, name: str, action: str, state: str, phase: str) -> None:
        """start, stop, restart, pause, unpause a container, which leads to a state and a phase."""
        before = self.wanted["container", name]
        restarts = before.restarts + (action in ("start", "restart"))
        after = replace(before, state=state, phase=phase, restarts=restarts)
        self._do({("container", name): after}, lambda cases, call: cases["container"].act(call, name, action))

    def restart(self, name: str) -> None:
        """Restart an app."""
        before = self.wanted["app", name]
        after = replace(before, restarts=before.restarts + 1)
        self._do({("app", name): after}, lambda cases, call: cases["app"].restart(call, name))

    def rollback(self, name: str, revision: int, image: str) -> None:
        """Go back to a revision of an app, which had an image."""
        after = replace(self.wanted["app", name], image=image, runs=None)
        self._do({("app", name): after}, lambda cases, call: cases["app"].rollback(call, name, revision))

    def delete(self, noun: Noun, name: str, **flags: bool) -> None:
        """Delete it."""

        def send(cases: Mapping[str, Any], call: Call) -> Answer:
            try:
                answer: Answer = cases[noun].delete(call, name, **flags)
            except NotFound:
                return Answer(204)  # what a user who asks again is told
            return answer

        if flags.get("force") or flags.get("keep"):
            self.forgotten.add(name)
        self._do({(noun, name): None}, send)

    def delete_cluster(self, *, force: bool = False) -> None:
        """Let go of the cluster, with force of what it carries too."""
        changes: dict[Name, None] = dict.fromkeys(self.wanted) if force else {}
        if force:
            self.forgotten |= {name for _, name in self.wanted}

        def send(cases: Mapping[str, Any], call: Call) -> Answer:
            try:
                answer: Answer = cases["cluster"].delete(call, CLUSTER, force=force)
            except NotFound:
                return Answer(204)
            return answer

        self._do(changes, send)

    def turn(self, times: int = 1) -> None:
        """Let the engine work for some turns."""
        for _ in range(times):
            self.do(lambda: self.site.running.turn())

    def settle(self) -> None:
        """Let the engine work until all has come to its end."""
        self.do(lambda: self.site.running.settle())

    def reboot(self) -> None:
        """The process ends without notice and another one starts, which has the rest of its life."""
        life = self.site.running.life

        def start() -> None:
            self.site.drop()
            life.dead = False
            self.site.boot(life)

        self.do(start)

    def do(self, step: Callable[[], None]) -> None:
        """A step of the process."""
        step()

    def ask_again(self) -> None:
        """Send again what was not answered."""
        if self.pending is not None:
            self._send(self.pending)

    def _do(self, changes: Mapping[Name, Wanted | None], send: Callable[[Mapping[str, Any], Call], Answer]) -> None:
        after = {k: v for k, v in (self.wanted | changes).items() if v is not None}
        request = call()
        once = replace(request, idempotency_key=request.request_id)
        self._send(Act(request.request_id, lambda: send(self._cases(), once), after))

    def _send(self, act: Act) -> None:
        self.pending = act
        self.do(lambda: _answered(act.send()))
        self.wanted, self.pending = act.after, None
        self.answered.append(act.request)

    def _cases(self) -> dict[str, Any]:
        gateway = self.site.running.process.gateway
        return {"app": gateway.apps, "container": gateway.containers, "cluster": gateway.clusters}


def begin(site: Site, prepare: Callable[[Story], None]) -> Story:
    """A site with its cluster registered and what a scenario needs beforehand."""
    site.boot()
    site.register()
    story = Story(site)
    prepare(story)
    return story


def _answered(answer: Answer) -> None:
    assert answer.body is None or json.loads(answer.body)


def _wanted(fields: Mapping[str, Any], expect: Mapping[str, Any] | None) -> dict[str, Any]:
    names = {"image": "image", "replicas": "replicas", "desired_state": "state"}
    return {names[k]: v for k, v in fields.items() if k in names} | dict(expect or {})

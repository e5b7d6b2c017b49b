"""One simulated container: a life that follows from its template, its image and the time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import count
from typing import Any

from tests.simulated.program import FOREVER, Image, Program, passes, program_of, refusal
from zun_coe.adapters import LogLine
from zun_coe.model import Endpoint, Instance, Template, bytes_of
from zun_coe.model.status import stays_exited

Step = Callable[[float], None]


@dataclass
class Pace:
    """How quick a simulated cluster is, in seconds."""

    start: float = 0.0
    ready: float = 0.0
    stop: float = 0.0
    restart: float = 0.02
    longest_restart: float = 5.0


@dataclass
class Container:
    """Guarded by the lock of its cluster. Nothing happens between calls of `advance`; each call makes up
    for the time since the last one. `moment` turns the cluster's time into a date."""

    native_id: str
    name: str
    slot: int
    hash: str
    template: Template
    pace: Pace
    moment: Callable[[float], datetime]
    env: dict[str, str] = field(default_factory=dict, repr=False)
    host: str | None = None
    created: float = 0.0
    endpoints: tuple[Endpoint, ...] = ()
    state: str = "pending"
    ready: bool = False
    ready_since: float = 0.0
    healthy: bool = True
    exit_code: int | None = None
    restarts: int = 0
    reason: str | None = None
    message: str | None = None
    started: float | None = None
    finished: float | None = None
    stopped: bool = False  # somebody asked for it, so that no restart policy applies
    lines: list[LogLine] = field(default_factory=list)
    _image: Image = field(default_factory=Image)
    _agenda: list[tuple[float, int, Step]] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)

    @property
    def next_at(self) -> float:
        """When something happens next; `FOREVER` when nothing does."""
        return self._agenda[0][0] if self._agenda and self.state != "paused" else FOREVER

    @property
    def live(self) -> bool:
        """Whether it counts: there, and not on its way out."""
        return self.state not in ("removing", "gone")

    def advance(self, now: float) -> None:
        """Let everything happen that was due."""
        while self.next_at <= now:
            at, _, step = heapq.heappop(self._agenda)
            step(at)

    def begin(self, image: Image, pulled: float, now: float) -> None:
        """Create it from an image that is there at the time `pulled`."""
        self._image, self.state = image, "creating"
        self._explain("Pulling", "The image is on its way.") if pulled > now else self._explain()
        self._at(max(pulled, now) + self.pace.start, self._run)

    def wait(self, reason: str, message: str) -> None:
        """It can't be made now."""
        self.state = "pending"
        self._explain(reason, message)

    def start(self, now: float) -> None:
        """Run it (again), at once."""
        self.stopped, self.restarts = False, 0
        self._run(now)

    def stop(self, now: float, *, remove: bool = False) -> None:
        """Ask it to end, as somebody who wants that; it takes the pace's time, never more than its grace."""
        lasts = min(self.pace.stop, self.template.stop_timeout) if self.started is not None else 0.0
        self.stopped = True
        self.state = "running" if self.state == "paused" else self.state
        if remove:
            self.state, self.ready = "removing", False
        self._agenda.clear()
        self._at(now + lasts, self._gone if remove else self._stopped)

    def end(self, code: int, now: float, reason: str | None = None) -> None:
        """Its process ends by itself; the restart policy decides what follows."""
        self._agenda.clear()
        self.exit_code, self.ready, self.finished = code, False, now
        if self.stopped or stays_exited(self.template.restart, code):
            self.state = "exited"
            self._explain(reason)
            return
        self.state = "restarting"
        self.restarts += 1
        if reason or self.restarts >= 3:
            self._explain(reason or "CrashLoop", f"It ended with exit code {code}, for the {self.restarts}. time.")
        delay = min(self.pace.restart * 2 ** min(self.restarts - 1, 20), self.pace.longest_restart)
        self._at(now + delay, self._run)

    def pause(self) -> None:
        """Freeze it; nothing happens in it until it goes on."""
        if self.state == "running":
            self.state, self.ready = "paused", False

    def unpause(self, now: float) -> None:
        """Let it go on."""
        if self.state == "paused":
            self.state = "running"
            self._at(now, self._turn_ready)

    def set_ready(self, ready: bool, now: float) -> None:
        """Its health check begins to pass or to fail."""
        self.healthy = ready
        if self.state != "running":
            return
        if ready:
            self._turn_ready(now)
        else:
            self._fail_check(now)

    def log(self, now: float, text: str, stream: Any = "stdout") -> None:
        """It prints a line."""
        self.lines.append(LogLine(self.native_id, stream, self.moment(now), text.encode()))

    def resize(self, template: Template) -> None:
        """Change its limits in place."""
        self.template = template

    def instance(self) -> Instance:
        """As an adapter shows it."""
        template, checked = self.template, self.template.health is not None
        running = self.state == "running"
        waiting = "starting" if self.reason is None else "unhealthy"
        return Instance(
            native_id=self.native_id,
            name=self.name,
            slot=self.slot,
            hash=self.hash,
            state=self.state,  # type: ignore[arg-type]  # the names of the states are the same
            ready=self.ready,
            health=("healthy" if self.ready else waiting) if checked and running else None,  # type: ignore[arg-type]  # one of the three
            exit_code=self.exit_code,
            restarts=self.restarts,
            host=self.host,
            reason=self.reason,
            message=self.message,
            endpoints=self.endpoints if running else (),
            cpu=template.cpu,
            memory=bytes_of(template.memory) if template.memory else None,
            created_at=self.moment(self.created),
            started_at=None if self.started is None else self.moment(self.started),
            finished_at=None if self.finished is None else self.moment(self.finished),
            ready_since=self.moment(self.ready_since) if self.ready else None,
        )

    def _run(self, now: float) -> None:
        self._agenda.clear()
        if told := refusal(self._command(), self.template.user):
            self.state = "failed"
            self._explain("InvalidSpec", told)
            return
        self.state, self.started, self.exit_code = "running", now, None
        if self.reason != "CrashLoop":
            self._explain()
        program = self._program()
        for offset, text in program.lines:
            self._at(now + offset, partial(self.log, text=text))
        if program.ends < FOREVER:
            self._at(now + program.ends, lambda at: self.end(program.exit_code, at))
        if self._passes():
            self._at(now + self.pace.ready, self._turn_ready)
        elif check := self.template.health:
            self._at(now + check.start_period + check.interval * check.retries, self._fail_check)

    def _program(self) -> Program:
        return program_of((*self._command(), *(self.template.args or ())), self.env)

    def _command(self) -> tuple[str, ...]:
        return self.template.command if self.template.command is not None else self._image.command

    def _passes(self) -> bool:
        check = self.template.health
        return self._image.ready and self.healthy and not (check and check.exec and not passes(check.exec.command))

    def _turn_ready(self, now: float) -> None:
        if self._passes() and not self.ready:
            self.ready, self.ready_since = True, now
            self._explain()

    def _fail_check(self, now: float) -> None:
        self.ready = False
        self._explain("HealthCheckFailing", "Its health check fails.")

    def _stopped(self, now: float) -> None:
        self.state, self.ready, self.exit_code, self.finished = "exited", False, 137, now
        self._explain()

    def _gone(self, now: float) -> None:
        self.state = "gone"

    def _explain(self, reason: str | None = None, message: str | None = None) -> None:
        self.reason, self.message = reason, message

    def _at(self, at: float, step: Step) -> None:
        heapq.heappush(self._agenda, (at, next(self._numbers), step))

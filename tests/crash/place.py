"""A gateway that is turned by hand, for a look at what its engine does with one key at one moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.crash.clockwork import HandTurned
from tests.crash.story import Story
from zun_coe.engine import Engine
from zun_coe.engine.acting import Key
from zun_coe.engine.ownership import Ownership
from zun_coe.engine.reconciler import Result
from zun_coe.process import Process

OURS = ("apply", "remove")
"""What the names of changes in the cluster begin with."""


class Place:
    """A gateway that is turned by hand, with a cluster in which something is due."""

    def __init__(self, story: Story) -> None:
        self.story, self.site = story, story.site

    @property
    def process(self) -> Process:
        """The gateway."""
        return self.site.running.process

    @property
    def engine(self) -> Engine:
        """Its engine."""
        assert self.process.engine is not None
        return self.process.engine

    @property
    def ownership(self) -> Ownership:
        """The lease of it."""
        return self.engine.ownership

    @property
    def runner(self) -> HandTurned:
        """What runs the cluster."""
        (runner,) = self.site.running.runners
        return runner

    @property
    def changes(self) -> list[str]:
        """What was changed in the cluster, since `forget` or the beginning."""
        return [name for name in self.site.running.life.changes if name.startswith(OURS)]

    def forget(self) -> None:
        """What was changed so far is of no interest."""
        self.site.running.catch_up()
        self.site.running.life.changes.clear()

    def key(self, noun: str, name: str) -> Key:
        """What a worker calls it."""
        found = self.process.gateway.views.named(noun, "default", name)
        return Key(noun, "default", found.id)

    def work_on(self, key: Key, meanwhile: Callable[[], None]) -> Result:
        """Work on a key as a worker does; something happens when it has begun."""
        runner, ledger = self.runner, self.runner._ledger
        look = ledger.intent

        def looked(key: Key) -> Any:
            ledger.intent = look  # type: ignore[method-assign]  # once is enough
            meanwhile()
            return look(key)

        ledger.intent = looked  # type: ignore[method-assign]  # the moment at which something happens
        return runner._try(key)

"""One process killed at one moment, and what must hold after another has taken up what it left."""

from __future__ import annotations

from contextlib import suppress

from tests.crash import truth
from tests.crash.clockwork import Site
from tests.crash.life import Killed, Life, Moment
from tests.crash.scenarios import Scenario
from tests.crash.story import Story, begin


def killed(site: Site, scenario: Scenario, moment: Moment, n: int, again: tuple[int, Moment] | None = None) -> bool:
    """Play a scenario at a new site, killed at its n-th change, and check what comes of it. Whether it got so
    far. `again`: where the next process is killed as well."""
    story = begin(site, scenario.prepare)
    life = story.site.running.life
    life.end_at(n, moment)
    try:
        if not _ended(scenario, story, life):
            return False
        try:
            recovered(story, again)
        except BaseException as error:
            error.add_note(f"killed {moment} change {n}: {life.changes}, then at {again}")
            raise
        return True
    finally:
        story.site.close()


def _ended(scenario: Scenario, story: Story, life: Life) -> bool:
    """Play a scenario. Whether the process was killed in it, be it in a thread that nobody waits for."""
    try:
        scenario.play(story)
    except Killed:
        return True
    return life.dead


def recovered(story: Story, again: tuple[int, Moment] | None) -> None:
    """Another process takes up what is there; then the user asks again for what was not answered."""
    story.site.drop()
    if again is not None:
        with suppress(Killed):
            take_up(story, again)
        story.site.drop()
    story.site.boot()
    story.settle()
    truth.check(story)
    story.ask_again()
    story.settle()
    truth.check(story)


def take_up(story: Story, end: tuple[int, Moment]) -> None:
    """A process that does not get far."""
    life = Life()
    life.end_at(*end)
    story.site.boot(life)
    story.settle()

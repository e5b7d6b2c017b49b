"""The work queue against a model, and under real threads."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.clock import Clock
from tests.real.waiting import wait_until
from zun_coe.engine.workqueue import WorkQueue

KEYS = st.sampled_from("abcde")
DEADLINE = 10.0
SHARE = 2
"""So many keys of a group at once, in the model."""


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock, lambda: 1.0, base=1.0, maximum=8.0)


def group_of(key: str) -> bool:
    return key in "abc"


def drain(queue: WorkQueue[str]) -> list[str]:
    """Every key that is due, each worked on and done."""
    taken = []
    while (key := queue.get(0)) is not None:
        taken.append(key)
        queue.done(key)
    return taken


def test_empty_queue_has_nothing(queue: WorkQueue[str]) -> None:
    assert queue.get(0) is None
    assert (queue.depth, queue.oldest_age) == (0, 0.0)


def test_keys_come_in_the_order_in_which_they_became_due(queue: WorkQueue[str]) -> None:
    for key in "cab":
        queue.add(key)
    assert drain(queue) == ["c", "a", "b"]


def test_duplicates_are_one(queue: WorkQueue[str]) -> None:
    for _ in range(3):
        queue.add("a")
    assert drain(queue) == ["a"]


def test_earlier_time_wins(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    clock.now += 4.9
    assert drain(queue) == []
    clock.now += 0.2
    assert drain(queue) == ["a"]
    clock.now += 100
    assert drain(queue) == []


def test_add_wins_over_every_delay_but_that_of_a_failure(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 10)
    queue.add("a")
    assert drain(queue) == ["a"]


def test_add_does_not_lose_a_place_in_the_line(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    clock.now += 1
    queue.add("b")
    queue.add("a")
    assert drain(queue) == ["a", "b"]


def test_key_added_while_worked_on_comes_again_after_done(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert queue.get(0) == "a"
    queue.add("a")
    assert queue.get(0) is None
    queue.done("a")
    assert queue.get(0) == "a"


def test_delay_asked_for_while_worked_on_is_kept(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    queue.get(0)
    queue.add_after("a", 3)
    queue.done("a")
    assert queue.get(0) is None
    clock.now += 3
    assert queue.get(0) == "a"


def test_done_is_for_whoever_has_the_key(queue: WorkQueue[str]) -> None:
    with pytest.raises(KeyError):
        queue.done("a")


def test_failures_double_up_to_the_maximum_until_forgotten(queue: WorkQueue[str]) -> None:
    assert [queue.failed("a") for _ in range(5)] == [2, 4, 8, 8, 8]
    assert queue.failed("b") == 2
    queue.forget("a")
    assert queue.failed("a") == 2


def test_delay_is_jittered_between_its_least_and_twice_that(clock: Clock) -> None:
    shares = iter([0.0, 0.5, 0.0, 1.0])
    queue: WorkQueue[str] = WorkQueue(clock, lambda: next(shares), base=1.0, maximum=60.0)
    assert [queue.failed("a") for _ in range(4)] == [1.0, 3.0, 4.0, 16.0]


def fail(queue: WorkQueue[str], key: str = "a", *, retry: bool = True) -> float:
    """Work on a key that is due, in vain; the delay."""
    assert queue.get(0) == key
    delay = queue.failed(key, retry=retry)
    queue.done(key)
    return delay


def test_hints_do_not_shorten_a_backoff(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    delay = fail(queue)
    for _ in range(19):
        clock.now += delay / 20
        queue.add("a")
        queue.add_after("a", 0.01)
        assert drain(queue) == []
    clock.now += delay / 10
    assert drain(queue) == ["a"]


def test_hints_that_came_while_the_attempt_was_made_wait_too(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    assert queue.get(0) == "a"
    queue.add("a")
    delay = queue.failed("a")
    queue.done("a")
    assert queue.get(0) is None
    assert queue.depth == 0
    clock.now += delay
    assert drain(queue) == ["a"]


def test_what_is_not_to_be_retried_is_due_only_when_it_is_added_and_then_after_its_delay(
    queue: WorkQueue[str], clock: Clock
) -> None:
    queue.add("a")
    delay = fail(queue, retry=False)
    clock.now += delay + 100
    assert drain(queue) == []
    queue.add("a")
    delay = fail(queue, retry=False)
    queue.add("a")
    assert drain(queue) == []
    clock.now += delay
    assert drain(queue) == ["a"]


def test_changed_intent_ends_a_backoff_once(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a", 1)
    first = fail(queue)
    queue.add("a", 2)
    assert fail(queue) == first  # a new intent begins with the least delay
    queue.add("a", 2)
    assert drain(queue) == []
    queue.add("a", 3)
    assert drain(queue) == ["a"]


def test_failure_of_an_attempt_says_nothing_of_an_intent_that_was_changed_meanwhile(queue: WorkQueue[str]) -> None:
    queue.add("a", 1)
    assert queue.get(0) == "a"
    queue.add("a", 2)
    queue.failed("a")
    queue.done("a")
    fail(queue)
    queue.add("a", 2)
    assert drain(queue) == []


def test_success_ends_the_backoff(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    clock.now += fail(queue)
    assert queue.get(0) == "a"
    queue.forget("a")
    queue.done("a")
    queue.add("a")
    assert drain(queue) == ["a"]


def test_many_failures_do_not_overflow(queue: WorkQueue[str]) -> None:
    assert max(queue.failed("a") for _ in range(3000)) == 8


def test_failed_key_comes_again_after_its_delay(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    queue.get(0)
    delay = queue.failed("a")
    queue.done("a")
    assert queue.get(0) is None
    clock.now += delay
    assert queue.get(0) == "a"


def test_depth_and_age_tell_of_due_keys_only(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    queue.add_after("b", 2)
    clock.now += 1.5
    assert (queue.depth, queue.oldest_age) == (1, 1.5)
    clock.now += 1
    assert (queue.depth, queue.oldest_age) == (2, 2.5)
    queue.get(0)
    assert (queue.depth, queue.oldest_age) == (1, 0.5)


def test_closed_queue_gives_and_takes_nothing(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.close()
    queue.close()
    queue.add("b")
    assert queue.get() is None


class Against(RuleBasedStateMachine):
    """Whatever is asked in whatever order, the queue does what a plain mapping of due times does."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue: WorkQueue[str] = WorkQueue(
            self.clock, lambda: 1.0, base=1.0, maximum=8.0, group_of=group_of, share=SHARE
        )
        self.due: dict[str, float] = {}
        self.held: dict[str, float] = {}
        self.working: set[str] = set()
        self.failures: Counter[str] = Counter()

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self._expect(key, 0)

    @rule(key=KEYS, seconds=st.integers(0, 20))
    def add_after(self, key: str, seconds: int) -> None:
        self.queue.add_after(key, seconds)
        self._expect(key, seconds)

    @rule(seconds=st.integers(1, 10))
    def pass_time(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule()
    def get(self) -> None:
        key = self.queue.get(0)
        busy = Counter(map(group_of, self.working))
        free = {k: at for k, at in self.due.items() if k not in self.working and busy[group_of(k)] < SHARE}
        ready = {k: at for k, at in free.items() if at <= self.clock.now}
        if key is None:
            assert not ready
            return
        assert ready[key] == min(ready.values())
        self.working.add(key)
        del self.due[key]

    @precondition(lambda self: self.working)
    @rule(data=st.data(), ok=st.booleans())
    def finish(self, data: st.DataObject, ok: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        if ok:
            self.queue.forget(key)
            self.failures.pop(key, None)
            self.held.pop(key, None)
        else:
            delay = min(8.0, 2.0 ** (self.failures[key] + 1))
            assert self.queue.failed(key) == delay
            self.failures[key] += 1
            self.held[key] = self.due[key] = self.clock.now + delay
        self.queue.done(key)
        self.working.discard(key)

    @invariant()
    def measures_agree(self) -> None:
        ages = [self.clock.now - at for at in self.due.values() if at <= self.clock.now]
        assert self.queue.depth == len(ages)
        assert self.queue.oldest_age == max(ages, default=0.0)

    def teardown(self) -> None:
        for key in self.working:
            self.queue.done(key)
        self.clock.now += 1000
        assert sorted(drain(self.queue)) == sorted(self.due)

    def _expect(self, key: str, seconds: float) -> None:
        at = max(self.clock.now + seconds, self.held.get(key, 0.0))
        self.due[key] = min(self.due.get(key, float("inf")), at)


TestAgainstModel = Against.TestCase


class Crew:
    """Workers that note whether two of them ever had one key at once, and what was worked on."""

    def __init__(self, queue: WorkQueue[int], size: int) -> None:
        self.queue = queue
        self.busy: set[int] = set()
        self.doubled: list[int] = []
        self.seen: Counter[int] = Counter()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(size)]
        for thread in self.threads:
            thread.start()

    def _work(self) -> None:
        while (key := self.queue.get()) is not None:
            with self.lock:
                self.doubled += [key] if key in self.busy else []
                self.busy.add(key)
                self.seen[key] += 1
            with self.lock:
                self.busy.discard(key)
            self.queue.done(key)

    def finish(self) -> None:
        """Wait until nothing is due or worked on, then send everybody home."""
        wait_until(lambda: not self.queue.depth and not self.busy, DEADLINE, "not everything was worked on")
        self.queue.close()
        for thread in self.threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()


def test_threads_lose_no_key_and_share_none() -> None:
    queue: WorkQueue[int] = WorkQueue()
    crew = Crew(queue, 6)

    def feed(seed: int) -> None:
        for n in range(2000):
            queue.add((n * 7 + seed) % 50) if n % 3 else queue.add_after((n + seed) % 50, 0.002)

    feeders = [threading.Thread(target=feed, args=(seed,)) for seed in range(3)]
    for feeder in feeders:
        feeder.start()
    for feeder in feeders:
        feeder.join(DEADLINE)
    for key in range(50, 100):
        queue.add_after(key, 0.02)
        queue.add_after(key, 0.01)
    wait_until(lambda: len(crew.seen) == 100, DEADLINE, "a key was lost")
    crew.finish()
    assert not crew.doubled


def test_waiting_worker_wakes_for_a_key_that_comes_due() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("later", 0.05)
    began = time.monotonic()
    assert queue.get(DEADLINE) == "later"
    assert time.monotonic() - began >= 0.05


def test_every_waiting_worker_wakes_for_its_own_key() -> None:
    """Two keys due at about the same time and two workers: neither waits for the other to finish."""
    queue: WorkQueue[str] = WorkQueue()
    taken = threading.Barrier(3, timeout=DEADLINE)

    def hold() -> None:
        assert queue.get(DEADLINE) is not None
        taken.wait()

    for _ in range(2):
        threading.Thread(target=hold, daemon=True).start()
    queue.add_after("a", 0.02)
    queue.add_after("b", 0.03)
    taken.wait()


def test_get_gives_up_in_time() -> None:
    queue: WorkQueue[str] = WorkQueue()
    began = time.monotonic()
    assert queue.get(0.02) is None
    assert time.monotonic() - began >= 0.02


def test_close_wakes_everybody() -> None:
    queue: WorkQueue[str] = WorkQueue()
    threads = [threading.Thread(target=queue.get, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    queue.close()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()


def test_a_group_gets_its_share_of_the_workers_and_no_more(clock: Clock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock, group_of=lambda key: key[0], share=2)
    for key in ("a1", "a2", "a3", "a4", "b1"):
        queue.add(key)
    assert [queue.get(0.0) for _ in range(4)] == ["a1", "a2", "b1", None]
    queue.done("b1")
    assert queue.get(0.0) is None
    queue.done("a2")
    assert [queue.get(0.0) for _ in range(2)] == ["a3", None]
    queue.done("a1")
    queue.done("a3")
    assert [queue.get(0.0) for _ in range(2)] == ["a4", None]


def test_a_worker_that_waits_is_woken_when_its_group_has_a_place() -> None:
    queue: WorkQueue[str] = WorkQueue(group_of=lambda key: key[0], share=1)
    queue.add("a1")
    assert queue.get(30.0) == "a1"
    queue.add("a2")
    got: list[str | None] = []
    waiting = threading.Thread(target=lambda: got.append(queue.get(30.0)))
    waiting.start()
    queue.done("a1")
    waiting.join(30.0)
    assert got == ["a2"]


def test_what_waits_for_a_place_can_be_asked_for_again(clock: Clock) -> None:
    """It is handed out once, and nothing of it stays behind."""
    queue: WorkQueue[str] = WorkQueue(clock, group_of=lambda key: key[0], share=1)
    queue.add("a1")
    assert queue.get(0.0) == "a1"
    queue.add_after("a2", 5.0)
    assert queue.get(0.0) is None
    queue.add("a2")
    queue.done("a1")
    assert queue.get(0.0) == "a2"
    queue.done("a2")
    clock.now += 60.0
    assert queue.get(0.0) is None
    assert not queue._busy
    assert [*queue._order, *queue._heads, *queue._places] == []


def test_what_waits_for_its_group_costs_nothing_while_it_waits(clock: Clock) -> None:
    """Of many keys of one group each is looked at a few times, however many of them wait."""
    looks = 0

    def group_of(key: int) -> str:
        nonlocal looks
        looks += 1
        return "one"

    queue: WorkQueue[int] = WorkQueue(clock, group_of=group_of, share=2)
    for key in range(2000):
        queue.add(key)
    held = queue.get(0)
    assert held is not None
    while (key := queue.get(0)) is not None:
        assert queue.get(0) is None
        queue.done(key)
    queue.done(held)
    assert looks <= 4 * 2000
    assert [*queue._order, *queue._heads, *queue._places] == []


def test_what_is_asked_for_long_before_it_is_due_leaves_little_behind(queue: WorkQueue[str]) -> None:
    queue.add_after("b", 900.0)
    for _ in range(5000):
        queue.add_after("a", 600.0)
        queue.add("a")
        assert drain(queue) == ["a"]
    assert sum(map(len, queue._order.values())) < 1100
    assert len(queue._heads) < 1100
    assert set(queue._due) == {"b"}

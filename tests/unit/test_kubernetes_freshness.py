"""What an answer from a server's memory must not be older than."""

from __future__ import annotations

from zun_coe.adapters.kubernetes.freshness import Freshness


def test_nothing_is_known_of_what_nobody_follows() -> None:
    freshness = Freshness()
    freshness.see("Pod", "7")
    assert freshness.of("Pod") is None


def test_the_newest_version_counts_and_each_kind_has_its_own() -> None:
    freshness = Freshness()
    with freshness.followed("Pod", "9"), freshness.followed("Service", "3"):
        freshness.see("Pod", "10")
        freshness.see("Pod", "8")
        freshness.see_object({"kind": "Service", "metadata": {"resourceVersion": "12"}})
        freshness.see_object({"kind": "Status", "metadata": {}})
        assert (freshness.of("Pod"), freshness.of("Service")) == ("10", "12")


def test_it_ends_with_the_watch() -> None:
    freshness = Freshness()
    with freshness.followed("Pod", "9"):
        pass
    assert freshness.of("Pod") is None


def test_a_version_that_a_server_does_not_reach_is_let_go_until_the_next_change() -> None:
    freshness = Freshness()
    with freshness.followed("Pod", "9"):
        freshness.doubt("Pod")
        assert freshness.of("Pod") is None
        freshness.see("Pod", "11")
        assert freshness.of("Pod") == "11"


def test_a_version_that_is_no_number_says_nothing() -> None:
    freshness = Freshness()
    with freshness.followed("Pod", "opaque"):
        assert freshness.of("Pod") is None

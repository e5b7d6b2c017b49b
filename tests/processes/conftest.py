"""An etcd of three members for all tests here, and one for a test that breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.processes.fleet import Fleet
from tests.real.etcd import Etcd

_numbers = count(1)


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """Shared: every test has a namespace of its own."""
    started = Etcd(tmp_path_factory.mktemp("etcd"), members=3)
    yield started
    started.close()


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[Etcd]:
    """Of one test alone."""
    (tmp_path / "etcd").mkdir()
    started = Etcd(tmp_path / "etcd", members=3)
    yield started
    started.close()


@pytest.fixture
def fleet(etcd: Etcd, tmp_path: Path) -> Iterator[Fleet]:
    """No processes yet, on a store that is empty."""
    fleet = Fleet(tmp_path, etcd.url(f"fleet-{next(_numbers)}"))
    yield fleet
    fleet.close()

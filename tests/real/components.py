"""Real components as fixtures. Each lives as long as the pytest process (each xdist worker has its own) and
is started when the first test asks for it. Where one can't be had, its tests say so (see `need`)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.real.engine import Engine, need_engine
from tests.real.etcd import Etcd
from tests.real.needs import free_port, missing, need
from tests.real.process import Process
from tests.real.registry import Registry
from tests.real.waiting import wait_until

__all__ = ["Engine", "Etcd", "Process", "Registry", "free_port", "missing", "need", "wait_until"]


def short_folder() -> Path:
    """A new folder whose path leaves room for a unix socket's name (107 bytes at most)."""
    return Path(tempfile.mkdtemp(prefix="zun-", dir="/tmp"))


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Like `tmp_path`, for unix sockets."""
    folder = short_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    """A Docker engine with the image `busybox:local`. Shared: tests use names of their own and clean up."""
    yield from _engine()


@pytest.fixture(scope="session")
def second_engine() -> Iterator[Engine]:
    """Another host's Docker engine."""
    yield from _engine()


@pytest.fixture
def own_engine() -> Iterator[Engine]:
    """An engine for one test alone, to be killed, frozen or filled."""
    yield from _engine()


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """An open image registry and one with a login."""
    need("docker-registry", "docker-registry")
    folder = short_folder()
    started = Registry(folder)
    yield started
    started.close()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """One etcd server. Shared: tests use namespaces of their own in it (`etcd.url(namespace)`)."""
    started = Etcd(tmp_path_factory.mktemp("etcd"))
    yield started
    started.close()


def _engine() -> Iterator[Engine]:
    need_engine()
    with closing(Engine(short_folder())) as engine:
        engine.start()
        engine.load()
        yield engine

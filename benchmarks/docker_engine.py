"""A real Docker engine, the gateway on it, and the same engine without the gateway."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import docker

from benchmarks.subject import Subject, folder, register, subject
from tests.real.engine import Engine

PARALLELISM = 8
"""Calls at once, of the gateway (its default) and without it."""
SPEC = {"cluster": "bench", "image": Engine.image, "command": ["sleep", "100000"], "stop_timeout": 0}
"""What is run, besides a name and how many."""
_numbers = itertools.count(1)


@contextmanager
def engine() -> Iterator[Engine]:
    """An engine of our own, with the image in it."""
    with folder() as place, closing(Engine(place)) as made:
        made.start()
        made.load()
        yield made


@contextmanager
def gateway_on(there: Engine) -> Iterator[Subject]:
    """A gateway with the engine as the cluster `bench`."""
    with subject(parallelism=PARALLELISM) as running:
        host = {"name": "a", "runtime": "docker", "endpoint": there.endpoint, "address": "127.0.0.1"}
        register(running, {"kind": "native", "hosts": [host]})
        yield running


class Direct:
    """Containers as docker-py makes them, each the same as the one that is given as a model."""

    def __init__(self, there: Engine, model: str) -> None:
        self._api = docker.APIClient(base_url=there.endpoint, timeout=60)
        self._api.trust_env = False
        self._config = _config_of(self._api.inspect_container(model))

    def start(self, count: int) -> list[str]:
        """Create and start so many, as many at once as the gateway does; their ids."""
        with ThreadPoolExecutor(PARALLELISM) as pool:
            return list(pool.map(lambda _: self._one(), range(count)))

    def remove(self, ids: Sequence[str]) -> None:
        """Remove them."""
        with ThreadPoolExecutor(PARALLELISM) as pool:
            list(pool.map(lambda id: self._api.remove_container(id, force=True, v=True), ids))

    def close(self) -> None:
        """Let go of the connection."""
        self._api.close()

    def _one(self) -> str:
        created = self._api.create_container_from_config(self._config, f"direct-{next(_numbers)}")  # type: ignore[no-untyped-call]  # missing in its stubs
        self._api.start(created["Id"])
        return str(created["Id"])


def _config_of(inspected: dict[str, Any]) -> dict[str, Any]:
    """The request that makes a container the same, but for the labels that tell whose it is."""
    config: dict[str, Any] = copy.deepcopy(inspected["Config"])
    config.pop("Hostname")
    config["Labels"] = {name: "x" * len(value) for name, value in config["Labels"].items()}
    networks = {name: {"Aliases": at["Aliases"][:1]} for name, at in inspected["NetworkSettings"]["Networks"].items()}
    return config | {"HostConfig": inspected["HostConfig"], "NetworkingConfig": {"EndpointsConfig": networks}}

"""The native COE on a real Docker engine, as every cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.contract.adapter import AdapterContract
from tests.contract.effects import InsideEffects
from tests.real.engine import Engine
from tests.real.needs import free_port
from tests.real.registry import Registry


class TestNativeOnDocker(AdapterContract, InsideEffects):
    @pytest.fixture
    def cluster_body(self, docker_engine: Engine) -> Mapping[str, Any]:
        self.engine = docker_engine
        host = {"name": "a", "runtime": "docker", "endpoint": docker_engine.endpoint, "address": "127.0.0.1"}
        return {"kind": "native", "hosts": [host]}

    @pytest.fixture
    def image(self, docker_engine: Engine) -> str:
        return docker_engine.image

    @pytest.fixture
    def missing_image(self) -> str:
        return f"127.0.0.1:{free_port()}/nobody/nothing:1"

    @pytest.fixture
    def host_folder(self, tmp_path: Path) -> Path:
        return tmp_path

    @pytest.fixture
    def private_image(self, docker_engine: Engine, registry: Registry) -> tuple[str, str, str]:
        return registry.push(docker_engine, "secret:1", private=True), registry.username, registry.password

    def delete_outside(self, native_id: str) -> None:
        self.engine.client().api.remove_container(native_id, force=True)

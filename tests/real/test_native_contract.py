"""The native COE on a real Docker engine, as every cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.contract.adapter import AdapterContract
from tests.contract.effects import InsideEffects
from tests.real.engine import Engine


class TestNativeOnDocker(AdapterContract, InsideEffects):
    @pytest.fixture
    def engine(self, docker_engine: Engine) -> Engine:
        return docker_engine

    @pytest.fixture
    def cluster_body(self, engine: Engine) -> Mapping[str, Any]:
        self.there = engine
        host = {"name": "a", "runtime": "docker", "endpoint": engine.endpoint, "address": "127.0.0.1"}
        return {"kind": "native", "hosts": [host]}

    def delete_outside(self, native_id: str) -> None:
        self.there.client().api.remove_container(native_id, force=True)

"""The simulated cluster as every cluster: the contract's first subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.contract.adapter import AdapterContract
from tests.simulated import Image, Outside, SimulatedCluster
from tests.simulated.fixtures import endpoint_of


class TestSimulatedCluster(AdapterContract):
    @pytest.fixture
    def cluster_body(self, simulated: SimulatedCluster) -> Mapping[str, Any]:
        simulated.images["missing"] = Image(missing=True)
        simulated.pace.start, simulated.pace.ready = 0.01, 0.02
        self.outside = Outside(simulated)
        return {"kind": "simulated", "endpoint": endpoint_of(simulated)}

    @pytest.fixture
    def image(self) -> str:
        return "busybox:local"

    @pytest.fixture
    def missing_image(self) -> str:
        return "missing"

    def delete_outside(self, native_id: str) -> None:
        self.outside.delete(native_id)

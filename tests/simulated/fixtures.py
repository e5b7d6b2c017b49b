"""The simulated cluster as a fixture."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from tests.simulated.adapter import CLUSTERS, KIND, SCHEME, SimulatedAdapter
from tests.simulated.cluster import SimulatedCluster
from tests.simulated.outside import Outside
from zun_coe import adapters

_numbers = count(1)


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCluster]:
    """A cluster in memory. `endpoint_of` is what to register it with, with the kind `simulated`."""
    monkeypatch.setitem(adapters.kinds(), KIND, SimulatedAdapter)
    cluster = SimulatedCluster()
    name = f"cluster-{next(_numbers)}"
    CLUSTERS[name] = cluster
    yield cluster
    cluster.faults.resume()
    del CLUSTERS[name]


@pytest.fixture
def outside(simulated: SimulatedCluster) -> Outside:
    """What happens to it behind the gateway's back."""
    return Outside(simulated)


def endpoint_of(cluster: SimulatedCluster) -> str:
    """The endpoint that names a cluster."""
    return SCHEME + next(name for name, known in CLUSTERS.items() if known is cluster)

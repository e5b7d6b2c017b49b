"""A cluster in memory with an adapter to it, for tests and benchmarks of everything above the adapters."""

from tests.simulated.adapter import CLUSTERS, KIND, SCHEME, SimulatedAdapter
from tests.simulated.cluster import SimulatedCluster
from tests.simulated.container import Container, Pace
from tests.simulated.faults import Faults
from tests.simulated.outside import Outside
from tests.simulated.program import Image

__all__ = [
    "CLUSTERS",
    "KIND",
    "SCHEME",
    "Container",
    "Faults",
    "Image",
    "Outside",
    "Pace",
    "SimulatedAdapter",
    "SimulatedCluster",
]

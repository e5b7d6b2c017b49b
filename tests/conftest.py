"""What every test shares: a network of its own, a clock, and the real components as fixtures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.real.isolation import own_network

pytest_plugins = ["tests.clock", "tests.real.components", "tests.real.kubernetes_fixtures"]

# How long an example takes tells of the machine's load, not of the code.
settings.register_profile("patient", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


class Scheduling(LoadScopeScheduling):
    """Test files and classes each on one worker, and what needs a Kubernetes on one altogether: it starts one, once."""

    def _split_scope(self, nodeid: str) -> str:
        return "kubernetes" if nodeid.startswith("tests/real/test_kubernetes_") else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """How tests are handed out where there are several workers."""
    return Scheduling(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_configure(config: pytest.Config) -> None:
    """Cut this process off from the machine's network before any thread or socket exists."""
    own_network()

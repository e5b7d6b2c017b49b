"""What every test shares: a network of its own, and the real components as fixtures."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.real.isolation import own_network

pytest_plugins = ["tests.real.components", "tests.real.kubernetes_fixtures"]

# How long an example takes tells of the machine's load, not of the code.
settings.register_profile("patient", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Cut this process off from the machine's network before any thread or socket exists."""
    own_network()

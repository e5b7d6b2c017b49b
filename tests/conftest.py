"""What every test shares: a network of its own, and the real components as fixtures."""

from __future__ import annotations

import pytest

from tests.real.isolation import own_network

pytest_plugins = ["tests.real.components"]


def pytest_configure(config: pytest.Config) -> None:
    """Cut this process off from the machine's network before any thread or socket exists."""
    own_network()

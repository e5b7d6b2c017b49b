"""The fixtures of the simulated cluster, for the tests here."""

from tests.simulated.fixtures import outside, simulated

__all__ = ["outside", "simulated"]

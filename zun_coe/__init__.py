"""One API for containers anywhere: bare runtimes, Kubernetes, Swarm, Mesos."""

from importlib.metadata import version

__version__ = version("zun-coe")

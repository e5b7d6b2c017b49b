"""The Docker Engine as a runtime of the native COE, over its HTTP API.

`client` reaches the engine, `failures` turns what goes wrong into our errors, `translation` maps our
terms to the engine's and back, `recall` remembers details that need not be asked for again, `streams`
follows logs, events and pulls, and `runtime` puts them together."""

from zun_coe.native.docker.runtime import DockerRuntime

__all__ = ["DockerRuntime"]

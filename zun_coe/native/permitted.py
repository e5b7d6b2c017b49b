"""A runtime that is asked for changes only while its cluster is this process's own.

One step of a workload makes many calls to its hosts. A process that was frozen between two of them, for so
long that another has taken over, must not make the second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from zun_coe.native.runtime import Runtime

CHANGES = frozenset(
    {
        "create",
        "start",
        "rejoin",
        "reconnect",
        "stop",
        "restart",
        "pause",
        "unpause",
        "kill",
        "remove",
        "resize",
        "set_restart",
        "import_image",
        "ensure_network",
        "remove_network",
        "ensure_volume",
        "remove_volume",
    }
)
"""The calls of `Runtime` that change something on the host that another process would miss or undo."""


def permitted(runtime: Runtime, check: Callable[[], None]) -> Runtime:
    """The runtime, where `check` comes before every change. What `check` raises, the call raises."""
    return cast(Runtime, _Permitted(runtime, check))


class _Permitted:
    def __init__(self, runtime: Runtime, check: Callable[[], None]) -> None:
        self._runtime, self._check = runtime, check

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._runtime, name)
        if name not in CHANGES:
            return call

        def checked(*arguments: Any, **options: Any) -> Any:
            self._check()
            return call(*arguments, **options)

        return checked

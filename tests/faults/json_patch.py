"""JSON patches (RFC 6902), as far as the gateway sends them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any


def patched(object: Any, operations: Sequence[dict[str, Any]]) -> Any:
    """The object after the operations; itself it stays as it is. Raises `LookupError` where a place is not there."""
    found = copy.deepcopy(object)
    for operation in operations:
        *above, last = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
        holder: Any = found
        for step in above:
            holder = holder[int(step) if isinstance(holder, list) else step]
        where: Any = int(last) if isinstance(holder, list) and last != "-" else last
        if operation["op"] == "remove":
            del holder[where]
        elif where == "-":
            holder.append(operation["value"])
        else:
            holder[where] = operation["value"]
    return found

"""The types of what is stored are ready before there are threads."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own, where nothing has been read yet, all threads begin at once and take turns all the time.
_READING = """
import sys, threading, msgspec
from {module} import {types}
gate = threading.Barrier(8)
def read():
    gate.wait()
    for type in ({types},):
        try:
            msgspec.json.decode({body!r}, type=type)
        except msgspec.ValidationError:
            pass
threads = [threading.Thread(target=read) for _ in range(8)]
sys.setswitchinterval(1e-6)
[t.start() for t in threads]
[t.join() for t in threads]
"""


@pytest.mark.parametrize(
    ("module", "types", "body"),
    [
        ("zun_coe.model", "Intent, Status", '{"template": {"image": "a", "sidecars": [{"name": "b"}]}}'),
        ("zun_coe.store.etcd.wire", "WatchLine", '{"result": {"events": [{"kv": {"key": "a"}}]}}'),
        ("zun_coe.adapters.kubernetes.wire", "Pod", '{"spec": {"containers": [{"name": "a", "resources": {}}]}}'),
    ],
    ids=["model", "etcd", "kubernetes"],
)
def test_many_threads_may_read_them_first(module: str, types: str, body: str) -> None:
    for _ in range(3):
        subprocess.run([sys.executable, "-c", _READING.format(module=module, types=types, body=body)], check=True)

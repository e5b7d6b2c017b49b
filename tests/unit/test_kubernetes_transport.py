"""What is sent to API servers, and what is imported for that."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.adapters.kubernetes.transport import as_yaml

VALUES = st.recursive(
    st.text() | st.booleans() | st.integers() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=10,
)


@given(VALUES)
def test_a_reader_of_yaml_takes_it_for_the_same(value: Any) -> None:
    assert yaml.safe_load(as_yaml(value)) == value


@pytest.mark.parametrize("text", ["😀", "a\u2028b", "a\x85b", "\x7f", "\ufeff", "ünï", "a\tb\nc"])
def test_texts_that_yaml_or_json_escapes(text: str) -> None:
    assert yaml.safe_load(as_yaml({"value": text})) == {"value": text}


def test_a_process_without_a_kubernetes_cluster_does_not_import_the_package() -> None:
    script = """
import sys
import zun_coe.app, zun_coe.cli, zun_coe.process
from zun_coe.adapters import Connection, kinds, open_adapter
opened = open_adapter(Connection(installation="i", cluster="c", kind="kubernetes", endpoint="https://127.0.0.1:1"))
opened.close()
print([name for name in sys.modules if name.partition(".")[0] == "kubernetes"])
"""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], check=True, capture_output=True, text=True, timeout=100
    )
    assert found.stdout.strip() == "[]"

"""Suites that every implementation of a seam inherits."""

import pytest

for suite in ("adapter", "effects", "store", "troubles"):
    pytest.register_assert_rewrite(f"tests.contract.{suite}")

"""Suites that every implementation of a seam inherits."""

import pytest

pytest.register_assert_rewrite("tests.contract.adapter", "tests.contract.effects", "tests.contract.store")

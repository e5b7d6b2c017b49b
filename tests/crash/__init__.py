"""Processes that end in the middle of what they do, and what their successors make of it."""

import pytest

pytest.register_assert_rewrite("tests.crash.truth", "tests.crash.story", "tests.crash.docker_truth")

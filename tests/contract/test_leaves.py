"""The contract and the model know the same leaves: what users can say is what adapters account for."""

from __future__ import annotations

from tests.contract import leaves


def test_contract_and_model_have_the_same_leaves() -> None:
    assert leaves.of_the_contract() == leaves.of_the_model()


def test_some_leaves_that_are_surely_there() -> None:
    found = leaves.of_the_model()
    assert {"/image", "/ports/*/publish", "/sidecars/*/mounts/*/tmpfs/size", "/health/exec/command"} <= found
    assert {"/env", "/placement/constraints", "/update/max_surge", "/mounts/*/tmpfs"} <= found

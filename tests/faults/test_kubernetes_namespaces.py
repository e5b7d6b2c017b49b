"""The namespace of a project, which several may want to make at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.api_server import ApiServer, failing, sending
from zun_coe.adapters.kubernetes import naming
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.namespaces import Namespaces
from zun_coe.errors import Invalid, Unavailable


@pytest.mark.parametrize(("owner", "raises"), [("i", None), ("somebody", Invalid), (None, Unavailable)])
def test_one_that_was_made_meanwhile(tmp_path: Path, owner: str | None, raises: type[Exception] | None) -> None:
    server = ApiServer(tmp_path)
    made = {"kind": "Namespace", "metadata": {"name": "n", "labels": {naming.INSTALLATION: owner}}}
    if owner is not None:
        server.on("GET /api/v1/namespaces/", sending(made))
    server.on("GET /api/v1/namespaces/", failing(404), times=1)
    server.on("POST /api/v1/namespaces", failing(409, 'namespaces "n" already exists'))
    connection = server.connection()
    client = Client(connection)
    namespaces = Namespaces(client, connection)
    if raises is None:
        assert namespaces.ensure("p")
    else:
        with pytest.raises(raises):
            namespaces.ensure("p")
    client.close()
    server.close()

"""Checking responses against the contract, for tests: what goes out is what was promised."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from connexion.exceptions import NonConformingResponseBody
from starlette.types import Message, Scope, Send

from zun_coe.api.contract import check
from zun_coe.api.explaining import summary


class JsonResponse:
    """Checks one JSON response. Connexion makes one for each."""

    def __init__(self, scope: Scope, *, schema: Mapping[str, Any], **_: Any) -> None:
        self._name = schema.get("title")

    def wrap_send(self, send: Send) -> Send:
        """Holds the response until it was checked. Raises `NonConformingResponseBody`."""
        held: list[Message] = []

        async def checked(message: Message) -> None:
            held.append(message)
            if message["type"] == "http.response.start" or message.get("more_body"):
                return
            self._check(b"".join(m.get("body", b"") for m in held))
            for each in held:
                await send(each)
            held.clear()

        return checked

    def _check(self, content: bytes) -> None:
        if self._name is None:
            if content:
                raise NonConformingResponseBody("The contract promises no body here.")
            return
        problems = check(self._name, "response").problems(json.loads(content))
        if problems:
            raise NonConformingResponseBody(f"This is no {self._name}: {summary(problems)} {problems[:5]}")

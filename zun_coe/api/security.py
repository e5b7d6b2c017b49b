"""Who calls: what connexion asks before anything else of an operation is looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from connexion.lifecycle import ConnexionRequest
from connexion.security import AbstractSecurityHandler

from zun_coe.api.exchange import exchange_of
from zun_coe.auth import Authenticator


def token_handler(authenticator: Authenticator) -> type[AbstractSecurityHandler]:
    """Connexion's handler for the contract's security scheme. It runs on the event loop, so what it asks
    must not block."""

    class TokenHandler(AbstractSecurityHandler):  # type: ignore[misc]  # connexion has no types
        def get_fn(
            self, security_scheme: dict[str, Any], required_scopes: list[str]
        ) -> Callable[[ConnexionRequest], Awaitable[dict[str, Any]]]:
            """The function that connexion calls for each request. It raises `Unauthenticated`."""

            async def verify(request: ConnexionRequest) -> dict[str, Any]:
                principal = authenticator.authenticate(request.headers)
                exchange_of(request.scope).principal = principal
                return {"sub": principal.user}

            return verify

    return TokenHandler

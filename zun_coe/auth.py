"""Who is calling. Used by the REST service and by its websockets alike; knows nothing of either."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from zun_coe.config import ConfigError, Settings
from zun_coe.errors import Forbidden, Unauthenticated

# A project is part of keys in the store, so it has no slash.
_PROJECT = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]{0,63}")
TOKEN_HEADER = "x-auth-token"  # noqa: S105  # the name of a header
"""The header of a token."""
ROLES = frozenset({"reader", "member", "admin"})


@dataclass(frozen=True)
class Principal:
    """Somebody acting in a project. `roles` of reader (looks), member (changes), admin (everything)."""

    project: str = "default"
    user: str = "admin"
    roles: frozenset[str] = frozenset({"admin"})

    @property
    def admin(self) -> bool:
        """Whether this is an operator of the gateway."""
        return "admin" in self.roles

    def must_write(self) -> None:
        """Raises `Forbidden` for somebody who may only look."""
        if not self.roles & {"member", "admin"}:
            raise Forbidden(f"The role member is needed to change anything in the project {self.project}.")

    def must_admin(self, what: str) -> None:
        """Raises `Forbidden` for somebody who is not an operator. `what` begins the sentence."""
        if not self.admin:
            raise Forbidden(f"{what} is for admins.")


class Authenticator:
    """Tells who calls from the headers of a request (names in lower case)."""

    def __init__(self, settings: Settings) -> None:
        if settings.auth != "none":
            raise ConfigError(f"auth = {settings.auth!r} is not known: use none")
        self._headers = settings.dev_headers

    def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """The caller. Raises `Unauthenticated`."""
        if not self._headers:
            return _admin(headers)
        roles = frozenset(headers.get("x-zun-roles", "admin").replace(" ", "").split(","))
        if not roles <= ROLES:
            raise Unauthenticated(f"X-Zun-Roles takes {', '.join(sorted(ROLES))}, separated by commas.")
        project = headers.get("x-zun-project", "default")
        if not _PROJECT.fullmatch(project):
            raise Unauthenticated("X-Zun-Project takes letters, digits, hyphens, dots and underscores, at most 64.")
        return Principal(project, headers.get("x-zun-user", "admin"), roles)


def _admin(headers: Mapping[str, str]) -> Principal:
    """The only caller that there is. Who asks to be somebody else would act in a project that is not meant."""
    admin = Principal()
    given = {"X-Zun-Project": admin.project, "X-Zun-User": admin.user, "X-Zun-Roles": "admin"}
    if named := [name for name, value in given.items() if headers.get(name.lower(), value) != value]:
        raise Unauthenticated(
            f"This gateway does not heed {' and '.join(named)}: everybody is the admin of the project default. Leave "
            "it out (--project, ZUN_COE_PROJECT and the like), or set dev_headers, which is for development."
        )
    return admin

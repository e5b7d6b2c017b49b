"""Who calls, by what a request says of it."""

from __future__ import annotations

import pytest

from zun_coe.auth import Authenticator, Principal
from zun_coe.config import Settings
from zun_coe.errors import Unauthenticated


@pytest.mark.parametrize("headers", [{}, {"x-zun-project": "default", "x-zun-user": "admin", "x-zun-roles": "admin"}])
def test_without_authentication_everybody_is_the_admin(headers: dict[str, str]) -> None:
    assert Authenticator(Settings()).authenticate(headers) == Principal()


@pytest.mark.parametrize(
    ("name", "value"), [("X-Zun-Project", "other"), ("X-Zun-User", "ann"), ("X-Zun-Roles", "reader")]
)
def test_who_asks_to_be_somebody_else_in_vain_is_not_taken_for_the_admin(name: str, value: str) -> None:
    with pytest.raises(Unauthenticated, match=f"does not heed {name}.*Leave it out .*dev_headers"):
        Authenticator(Settings()).authenticate({name.lower(): value})
    caller = Authenticator(Settings(dev_headers=True)).authenticate({name.lower(): value})
    assert caller != Principal()

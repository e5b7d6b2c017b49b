"""What Kubernetes takes as names, keys and values: the rules by which a value is refused before it is stored,
and without which the API server would answer 422 later. Pure.

From the API conventions: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and …/labels/"""

from __future__ import annotations

import re

from zun_coe.adapters.kubernetes import naming

_NAME_PART = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PORT_NAME = re.compile(r"(?=.{1,15}$)(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NUMERIC_USER = re.compile(r"[0-9]+(:[0-9]+)?")
_MOST = 2**31 - 1

_TAKEN = frozenset({"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by"})


def is_dns_label(text: str) -> bool:
    """A name as in DNS: a hostname, a container's name."""
    return _DNS_LABEL.fullmatch(text) is not None


def is_subdomain(text: str) -> bool:
    """Such as the name of a storage class."""
    return len(text) <= 253 and _SUBDOMAIN.fullmatch(text) is not None


def is_port_name(text: str) -> bool:
    """A service's name by IANA's rule: at least one letter, no two hyphens in a row."""
    return _PORT_NAME.fullmatch(text) is not None


def is_label_key(text: str) -> bool:
    """`name` or `prefix.example/name`."""
    prefix, slash, name = text.rpartition("/")
    return (is_subdomain(prefix) if slash else True) and _NAME_PART.fullmatch(name) is not None


def is_label_value(text: str) -> bool:
    """Empty, or at most 63 characters of letters, digits, `-`, `_` and `.`."""
    return not text or _NAME_PART.fullmatch(text) is not None


def is_free_label(key: str, value: str) -> bool:
    """Whether an object can have a user's label: one that is none of the gateway's own."""
    prefix = key.rpartition("/")[0]
    ours = prefix == naming.DOMAIN or prefix.endswith(f".{naming.DOMAIN}") or key in _TAKEN
    return is_label_key(key) and is_label_value(value) and not ours


def is_numeric_user(text: str) -> bool:
    """`uid` or `uid:gid`, in figures."""
    return _NUMERIC_USER.fullmatch(text) is not None and all(int(part) <= _MOST for part in text.split(":"))

"""Which events say the same: what differs from one time to the next is left out before they are compared.

A failure that repeats itself names another container, another address and another delay each time. Compared
literally, each of its messages would be an event of its own, and what happened before would be displaced."""

from __future__ import annotations

import re
from functools import lru_cache

# The order matters: a long form goes before those that it contains.
_FORMS = tuple(
    (re.compile(pattern, re.IGNORECASE), placeholder)
    for pattern, placeholder in (
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>"),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|\s?[+-]\d\d:?\d\d)?(?!\d)", "<time>"),
        (r"\bsha256:[0-9a-f]{8,64}\b", "<id>"),
        (r"\b0x[0-9a-f]+\b", "<id>"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+|/\d+)?(?![\w.]\d)", "<address>"),
        # IPv6 has two colons at least; a port or a length of the prefix may follow
        (r"\[?(?<![\w:])(?=[0-9a-f]*:[0-9a-f]*:)[0-9a-f:]{2,39}(?:%\w+)?(?![\w])\]?(?::\d+|/\d+)?", "<address>"),
        (r"(?<![a-z0-9])(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,64}(?![a-z0-9])", "<id>"),
        # what Kubernetes generates for names: letters without vowels, and digits
        (r"(?<=-)[bcdfghjklmnpqrstvwxz2-9]{8,10}(?=-)", "<id>"),
        (r"(?<=-)[bcdfghjklmnpqrstvwxz2-9]{5}(?![a-z0-9-])", "<id>"),
        (r"\b(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d))+\b", "<duration>"),
        (r"\b\d+(?:\.\d+)?\s(?:milli)?(?:seconds?|minutes?|hours?|days?)\b", "<duration>"),
        (r"\d+(?:\.\d+)*", "<number>"),
    )
)


@lru_cache(1024)
def normalised(text: str) -> str:
    """The text with a placeholder for each id, address, time, duration and number: two messages that say
    the same of two occasions become equal. It stays as it is when it is normalised again."""
    for form, placeholder in _FORMS:
        text = form.sub(placeholder, text)
    return text

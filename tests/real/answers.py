"""What web servers answer that may not be there yet."""

from __future__ import annotations

import urllib3

TIMEOUT = 2.0


def body_of(url: str) -> bytes | None:
    """The body of the answer to a GET, whatever its status; None where there is no answer in time."""
    answer = _answer(url)
    return None if answer is None else answer.data


def status_of(url: str) -> int | None:
    """The status of the answer to a GET; None where there is no answer in time."""
    answer = _answer(url)
    return None if answer is None else answer.status


def _answer(url: str) -> urllib3.BaseHTTPResponse | None:
    with urllib3.PoolManager(retries=False, timeout=TIMEOUT) as http:
        try:
            return http.request("GET", url)
        except urllib3.exceptions.HTTPError:
            return None

"""Which of several media types a client would rather have. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

_PARAMETERS = re.compile(r";\s*(?!q\s*=)[^;,]*", re.IGNORECASE)


def preferred(accept: str, offers: Iterable[str]) -> str | None:
    """Of the media types the one that an Accept header likes best, the first of several; None where it likes none. A
    header that is empty likes all; a charset and the like don't count."""
    plain = _PARAMETERS.sub("", accept) or "*/*"
    return parse_accept_header(plain, MIMEAccept).best_match(list(offers))


def accepts(accept: str, media_type: str) -> bool:
    """Whether a client takes it at all."""
    return preferred(accept, [media_type]) is not None

"""References to variables in texts: the kubelet replaces `$(NAME)` in commands, arguments and values of variables,
and the other COEs do not. So a dollar that could begin a reference is written twice, which stands for one.

The kubelet's rule: `$$` is a dollar, `$(NAME)` the variable's value, any other dollar itself. Behind such a dollar it
takes a single byte for a character, which breaks those of several bytes: hence they are treated alike."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"\$(?=[$(]|[^\x00-\x7f])")


def escaped(text: str) -> str:
    """The text that the kubelet turns into the one given."""
    return _SPECIAL.sub("$$", text)


def unescaped(text: str) -> str | None:
    """The text that the kubelet makes of it; None where that depends on variables."""
    out, at = [], 0
    while at < len(text):
        pair = text[at : at + 2]
        if pair == "$(" and ")" in text[at:]:
            return None
        out.append("$" if pair == "$$" else text[at])
        at += 2 if pair == "$$" else 1
    return "".join(out)

"""Clocks of backends, which may be wrong: by how much they are ahead of the gateway's. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

SAME = timedelta(seconds=1)
"""A difference of clocks up to this is none: it may come of how long an answer took."""


def ahead(theirs: datetime, asked: datetime, answered: datetime, step: timedelta = timedelta()) -> timedelta:
    """By how much a clock is ahead of ours (negative: behind) that told its time between two of ours, cut off to whole
    `step`s. What may be no more than the time that the answer took counts as nothing."""
    if theirs > answered:
        return theirs - answered
    return min(theirs + step - asked, timedelta())


def steadied(known: timedelta, measured: timedelta, same: timedelta = SAME) -> timedelta:
    """By how much a clock is ahead, in whole seconds, given what was assumed so far and what was measured now. It
    stays as it is while that is as good, so that times that were told do not change with every measurement."""
    if abs(measured - known) <= same:
        return known
    return timedelta() if abs(measured) <= same else timedelta(seconds=round(measured.total_seconds()))

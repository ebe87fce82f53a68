"""A moment as the clock on the reader's wall shows it, for sentences that are no templates (`engine.explain`)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from notifier.render.speech import Moment, locale_of, zone_of


def wall(zone: str, tag: str, about: datetime) -> Callable[[datetime], tuple[str, str]]:
    """Moment → (day, time), in that zone and language; the day is "" on the day of `about`, and has its year only in
    another."""
    here, locale = zone_of(zone), locale_of(tag)
    today = about.astimezone(here).date()

    def shown(moment: datetime) -> tuple[str, str]:
        at, day = Moment(moment, here, locale), moment.astimezone(here).date()
        if day == today:
            return "", at.time
        return (at.day if day.year == today.year else f"{at.day} {day.year}"), at.time

    return shown

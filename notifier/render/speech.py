"""How a language says numbers, sizes, times and lists; Babel knows, templates ask."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time
from babel.lists import format_list
from babel.numbers import format_decimal, format_percent

TAG: Final = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")
"""As much of BCP 47 as names a locale of Babel's."""
SIZES: Final = ("KB", "MB", "GB", "TB", "PB")


@lru_cache(maxsize=256)
def locale_of(tag: str) -> Locale:
    """Babel's locale for the tag or the longest part of it that it knows; English for nonsense."""
    parts = tag.replace("_", "-").split("-") if TAG.fullmatch(tag) else []
    while parts:
        try:
            return Locale.parse("-".join(parts), sep="-")
        except (UnknownLocaleError, ValueError):
            parts.pop()
    return Locale("en")


@lru_cache(maxsize=1024)
def zone_of(name: str) -> tzinfo:
    """The zone, UTC for a name nobody knows."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return UTC


class Moment:
    """A moment as the reader's clock shows it; nothing is formatted that no template asks for."""

    __slots__ = ("_local", "_locale")

    def __init__(self, at: datetime, zone: tzinfo, locale: Locale) -> None:
        self._local = at.astimezone(zone)
        self._locale = locale

    @property
    def time(self) -> str:
        """«08:12»."""
        return format_time(self._local, "short", locale=self._locale).replace("\u202f", " ")

    def near(self, other: Moment) -> str:
        """The time if both are on one day, else the day."""
        return self.time if self._local.date() == other._local.date() else self.day

    @property
    def day(self) -> str:
        """«24 Nov», with the year only in the full date."""
        return format_date(self._local, "d MMM" if self._locale.language == "en" else "d. MMM", locale=self._locale)

    @property
    def date(self) -> str:
        """«Tuesday, 24 November 2026»."""
        return format_date(self._local, "full", locale=self._locale)

    @property
    def full(self) -> str:
        """«24 Nov 2026, 08:12»."""
        return f"{format_date(self._local, 'medium', locale=self._locale)}, {self.time}"


class Speech:
    """One language's ways, for the templates of that language."""

    def __init__(self, locale: Locale) -> None:
        self._locale = locale

    def plural(self, n: int, one: str, other: str, **forms: str) -> str:
        """The form CLDR chooses for `n`, {n} in it as a number; `few`, `many`, … where a language has them."""
        chosen = {"one": one, "other": other, **forms}
        return chosen.get(self._locale.plural_form(n), other).replace("{n}", self.number(n))

    def number(self, n: int) -> str:
        return str(n) if 0 <= n < 1000 else format_decimal(n, locale=self._locale)

    def percent(self, percent: int) -> str:
        return format_percent(percent / 100, locale=self._locale)

    def size(self, kib: int) -> str:
        """KiB as people say it: «1.9 GB»."""
        power = 0
        while kib >= 1024 ** (power + 1) and power < len(SIZES) - 1:
            power += 1
        amount = format_decimal(round(kib / 1024**power, 1), format="#,##0.#", locale=self._locale)
        return f"{amount} {SIZES[power]}"

    def counted(self, counts: Sequence[tuple[str, int]], forms: Mapping[str, Mapping[str, str]]) -> list[str]:
        """«7 new messages», «2 voicemails»: by the part of the category before its dot; unknown ones are mail."""
        sums: dict[str, int] = {}
        for category, n in counts:
            kind = category.partition(".")[0]
            kind = kind if kind in forms else "mail"
            sums[kind] = sums.get(kind, 0) + n
        return [self.plural(n, **forms[kind]) for kind, n in sums.items()]

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return str(self._locale.text_direction)

    def listing(self, names: Sequence[str]) -> str:
        """«Anna, Bob and Carl»."""
        return format_list(list(names), locale=self._locale)

    @staticmethod
    def duration(seconds: int) -> str:
        """«0:42», «1:02:03»."""
        minutes, rest = divmod(max(seconds, 0), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

"""Telephone numbers at the door: E.164 or a refusal that says why, and the country they belong to."""

from __future__ import annotations

import threading
from collections.abc import Collection

import phonenumbers
from phonenumbers import PhoneNumberType

from notifier.errors import InputError

NUMBER_CHARS_MAX = 32

DEAR = frozenset(
    {
        PhoneNumberType.PREMIUM_RATE,
        PhoneNumberType.SHARED_COST,
        PhoneNumberType.UAN,
        PhoneNumberType.PAGER,
        PhoneNumberType.TOLL_FREE,
        PhoneNumberType.VOICEMAIL,
    }
)
"""Kinds nobody receives a notification on, and some of which somebody earns by."""

# A country's metadata is loaded when its first number is read, and the library does not guard that.
_loading = threading.Lock()


def e164(text: str, countries: Collection[str] = ()) -> str:
    """The number as E.164 writes it; the country is never guessed. `countries`: ISO codes allowed, () for all.

    Raises InputError, without the number in it, for what is no number, one that costs its caller, or another country.
    """
    if len(text) > NUMBER_CHARS_MAX or not text.lstrip().startswith(("+", "tel:+")):
        raise _refused("accepted: a telephone number with its country code, such as +49 1511 2345678")
    with _loading:
        try:
            number = phonenumbers.parse(text, None)
        except phonenumbers.NumberParseException:
            raise _refused("found no telephone number; accepted: one such as +49 1511 2345678") from None
        valid = phonenumbers.is_valid_number(number)
        kind = phonenumbers.number_type(number)
        country = phonenumbers.region_code_for_number(number)
        written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if not valid or kind in DEAR or number.extension:
        raise _refused("found a number that receives no SMS; accepted: a subscriber's number")
    if countries and country not in countries:
        raise _refused(f"found a number of another country; accepted: {', '.join(sorted(countries))}")
    return written


def country_of(number: str) -> str | None:
    """ISO code of an E.164 number's country; None where it belongs to none."""
    with _loading:
        try:
            return phonenumbers.region_code_for_number(phonenumbers.parse(number, None))
        except phonenumbers.NumberParseException:
            return None


def _refused(text: str) -> InputError:
    return InputError("the number cannot be accepted", pointer="/value", errors=(("/value", text),))

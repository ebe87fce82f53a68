"""Numbers at the door: E.164 from how people write them, never a guess, never one that costs its caller."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from notifier.errors import InputError
from notifier.web.phones import country_of, e164


@pytest.mark.parametrize(
    ("written", "number", "country"),
    [
        ("+49 1511 2345678", "+4915112345678", "DE"),
        ("+49 (0) 1511/2345678", "+4915112345678", "DE"),
        ("+1 212-555-0142", "+12125550142", "US"),
        ("+44 7400 123456", "+447400123456", "GB"),
        ("tel:+43-664-1234567", "+436641234567", "AT"),
    ],
)
def test_a_number_is_e164_however_it_is_written(written: str, number: str, country: str) -> None:
    assert e164(written) == number
    assert e164(number) == number
    assert country_of(number) == country
    assert e164(written, (country,)) == number


@pytest.mark.parametrize(
    "written",
    [
        "",
        "+",
        "0151 12345678",
        "+49",
        "+1 900 555 0142",
        "+44 909 879 0000",
        "+800 1234 5678",
        "+1 212 555 0142 ext 7",
        "+4" * 20,
    ],
)
def test_what_receives_no_sms_is_refused_without_being_repeated(written: str) -> None:
    with pytest.raises(InputError) as refused:
        e164(written)
    assert refused.value.pointer == "/value"
    assert not written[3:] or written[3:] not in str(refused.value.errors)


def test_another_country_is_refused() -> None:
    with pytest.raises(InputError):
        e164("+49 1511 2345678", ("AT",))


def test_numbers_of_many_countries_may_be_read_at_once() -> None:
    numbers = ["+33612345678", "+34612345678", "+393123456789", "+31612345678", "+48512345678", "+46701234567"] * 4
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(e164, numbers)) == numbers


def test_a_text_that_is_no_number_has_no_country() -> None:
    assert country_of("nonsense") is None

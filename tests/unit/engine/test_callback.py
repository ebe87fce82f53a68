"""The address a provider reports to names one attempt, and only we can make one."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.engine.callback import PARAMETER, TOKEN_CHARS, Sent, address, read
from notifier.engine.links import LINK_CHARS_MAX

URL = "https://notify.example.org/v1/callbacks/twilio/status"
KEY, OLDER, OTHER = b"k" * 32, b"o" * 32, b"x" * 32
SENT = Sent(id=UUID(int=7), attempt=3)


def token_of(url: str) -> str:
    (token,) = parse_qs(urlsplit(url).query)[PARAMETER]
    return token


@given(st.builds(Sent, id=st.uuids(), attempt=st.integers(0, 2**32 - 1)))
def test_an_address_says_which_attempt_it_was_made_for(sent: Sent) -> None:
    url = address(URL, sent, KEY)
    assert url == f"{URL}?{PARAMETER}={token_of(url)}"
    assert read(token_of(url), (OTHER, KEY)) == sent
    assert len(token_of(url)) == TOKEN_CHARS <= LINK_CHARS_MAX


@given(st.integers(0, TOKEN_CHARS - 1), st.sampled_from("ABCxyz019-_"))
def test_a_token_with_another_character_is_none(at: int, character: str) -> None:
    token = token_of(address(URL, SENT, KEY))
    changed = token[:at] + character + token[at + 1 :]
    assert read(changed, (KEY,)) == (SENT if changed == token else None)


@pytest.mark.parametrize("token", ["", "A", "A" * TOKEN_CHARS, "é" * TOKEN_CHARS, "!" * TOKEN_CHARS, "A" * 10_000])
def test_what_is_no_token_is_none(token: str) -> None:
    assert read(token, (KEY,)) is None


def test_an_older_key_still_reads_and_anothers_never_did() -> None:
    token = token_of(address(URL, SENT, OLDER))
    assert read(token, (KEY, OLDER)) == SENT
    assert read(token, (KEY, OTHER)) is None


@pytest.mark.parametrize(
    ("url", "query", "fragment"),
    [
        (f"{URL}?relay=1", "relay=1&n=", ""),
        (f"{URL}#rc=3&rp=all", "n=", "rc=3&rp=all"),
        (f"{URL}?relay=1#rc=3", "relay=1&n=", "rc=3"),
    ],
)
def test_a_query_and_a_fragment_of_the_operators_stay(url: str, query: str, fragment: str) -> None:
    made = urlsplit(address(url, SENT, KEY))
    assert made.query.startswith(query)
    assert made.fragment == fragment
    assert read(token_of(made.geturl()), (KEY,)) == SENT

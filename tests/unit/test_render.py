"""Texts: complete in both languages, never above the allowed level, harmless whatever a stranger wrote.

The golden texts in `tests/data/render/` are what people read: `python -m tests.unit.test_render` writes them anew, and
the difference is then read like any other.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from babel import Locale
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.channels.fit import Encoding, sms_segments
from notifier.errors import ConfigError, RenderError
from notifier.model.event import Address, MessageContext, MessageSummary
from notifier.model.item import Item
from notifier.model.message import Rendered
from notifier.model.preference import Category, Privacy
from notifier.render import PAGES, DigestMaterial, Material, Renderer, templates_folder
from notifier.render.speech import Moment, Speech, locale_of, zone_of
from notifier.render.untrusted import inert, shown, spaced

RENDERER = Renderer()
GOLDEN = Path(__file__).parent.parent / "data" / "render"
LANGUAGES = ("en", "de")
MESSAGE_FILES = {"push.title.txt", "push.body.txt", "sms.txt", "email.subject.txt", "email.text.txt", "email.html"}
FILES: dict[str, set[str]] = {
    **{category.value: MESSAGE_FILES for category in Category if category is not Category.MAIL_VIP},
    **dict.fromkeys(("summary", "test", "notice"), MESSAGE_FILES),
    "code": {"sms.txt", "email.subject.txt", "email.text.txt", "email.html"},
    "digest": {"email.subject.txt", "email.text.txt", "email.html"},
    "pages": {f"{name}.html" for name in PAGES},
    "_base": {"words.txt"},
}
CATEGORIES = [*(category.value for category in Category), "summary", "test", "notice"]

ABOUT_MESSAGES = frozenset({"mail", "voicemail", "fax", "call", "summary"})

AT = datetime(2026, 11, 24, 7, 12, tzinfo=UTC)
ANNA = MessageSummary(
    subject="Lunch on Friday?",
    sender=Address("anna@example.org", "Anna Muster"),
    snippet="Shall we meet at one?",
    date=AT,
    caller="+493012345",
    duration_s=42,
)
BOB = MessageSummary(subject="Minutes", sender=Address("bob@example.org"), date=AT, caller_name="Bob")
PARAMS: dict[str, str | int] = {
    "resource": "STORAGE",
    "percent": 95,
    "used": 1_992_294,
    "limit": 2_097_152,
    "network": "203.0.113.0/24",
    "service": "imap",
    "device": "Anna's iPhone",
    "code": "123456",
}


def material(**changes: object) -> Material:
    base = Material(
        privacy=Privacy.SUBJECT,
        messages=(ANNA,),
        time_zone="Europe/Berlin",
        account="ann@example.org",
        params=PARAMS,
        at=AT,
        public_url="https://notify.example.org",
    )
    return msgspec.structs.replace(base, **changes)


def everything(category: str, given: Material) -> str:
    """All that would leave the house about it, on every medium."""
    push, mail = RENDERER.push(category, given), RENDERER.mail(category, given)
    return "\n".join((push.title, push.body, RENDERER.sms(category, given), mail.title, mail.body, mail.html))


def an_item(number: int, **changes: object) -> Item:
    base = Item(
        id=number,
        person=b"p",
        event=number,
        key=b"k",
        category="mail.new",
        thread=b"t",
        message_id=b"",
        opened=AT - timedelta(minutes=number),
        summary=MessageSummary(subject=f"Subject {number}", sender=Address(f"s{number}@example.org")),
        mailbox_name="INBOX",
    )
    return msgspec.structs.replace(base, **changes)


def a_digest(*items: Item, **changes: object) -> Rendered:
    base = DigestMaterial(items=items, at=AT, time_zone="Europe/Berlin", account="ann@example.org")
    return RENDERER.digest(msgspec.structs.replace(base, **changes))


# What people read


def golden(language: str) -> str:
    """Every text of one language, as one page to read."""
    return "\n".join(_golden_lines(language))


def _golden_lines(language: str) -> Iterator[str]:
    both = {"mail.new": 2, "voicemail.new": 1}
    several = ((1, (ANNA,)), (3, (ANNA, BOB)))
    for category in CATEGORIES:
        levels = (Privacy.COUNT, Privacy.SENDER, Privacy.SUBJECT, Privacy.PREVIEW)
        for level in levels if category in ("mail.new", "voicemail.new") else (Privacy.COUNT, Privacy.PREVIEW):
            for n, messages in several if category.partition(".")[0] in ABOUT_MESSAGES else several[:1]:
                given = material(locale=language, privacy=level, count=n, messages=messages, counts=both)
                push, mail = RENDERER.push(category, given), RENDERER.mail(category, given)
                yield f"=== {category}, {level.name.lower()}, {n}"
                yield f"push     {push.title} | {push.body!r}"
                yield f"sms      {RENDERER.sms(category, given)}"
                yield f"subject  {mail.title}"
    for category in ("mail.new", "quota.warning", "security.login"):
        yield f"=== {category}, mail\n{RENDERER.mail(category, material(locale=language)).body}"
    yield f"=== code, sms\n{RENDERER.sms('code', material(locale=language))}"
    link = {"code": "https://notify.example.org/u/x"}
    yield f"=== code, mail\n{RENDERER.mail('code', material(locale=language, params=link)).body}"
    items = (
        an_item(1),
        an_item(2, mailbox_name="Work/Support"),
        an_item(3, category="voicemail.urgent", summary=BOB),
        an_item(4, category="call.missed", summary=MessageSummary(caller="+493012345"), opened=AT - timedelta(days=1)),
    )
    urls = {"public_url": "https://notify.example.org", "unsubscribe_url": "https://notify.example.org/u/abc"}
    digest = a_digest(*items, locale=language, total=41, **urls)
    yield f"=== digest\n{digest.title}\n\n{digest.body}"
    yield f"=== digest, html\n{without_style(digest.html)}"


def without_style(html: str) -> str:
    return re.sub(r"<style>.*?</style>", "<style>…</style>", html, flags=re.DOTALL)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_reads_as_it_was_last_read(language: str) -> None:
    assert golden(language).splitlines() == (GOLDEN / f"{language}.txt").read_text("utf-8").splitlines()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_complete(language: str) -> None:
    folder = templates_folder() / language
    found = {entry.name: {file.name for file in entry.iterdir()} for entry in folder.iterdir()}
    assert found == FILES


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("category", CATEGORIES)
def test_an_sms_with_the_count_alone_costs_at_most_two_parts_of_the_cheap_alphabet(
    language: str, category: str
) -> None:
    text = RENDERER.sms(category, material(locale=language, privacy=Privacy.COUNT, count=12))
    segments = sms_segments(text)
    assert text
    assert (segments.encoding, segments.count <= 2) == (Encoding.GSM, True)


# The level


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("category", CATEGORIES)
def test_no_text_shows_more_than_its_level_allows(language: str, category: str) -> None:
    message = MessageSummary(
        sender=Address("SENDER-ADDRESS@x.example", "SENDER-NAME"),
        subject="THE-SUBJECT",
        snippet="THE-SNIPPET",
        caller="CALLER-NUMBER",
        caller_name="CALLER-NAME",
    )
    hidden = {
        Privacy.COUNT: ("SENDER-", "CALLER-", "THE-SUBJECT", "THE-SNIPPET", "FOLDER", "203.0.113", "IMAP"),
        Privacy.SENDER: ("THE-SUBJECT", "THE-SNIPPET"),
        Privacy.SUBJECT: ("THE-SNIPPET",),
        Privacy.PREVIEW: (),
    }
    for level, words in hidden.items():
        for n in (1, 3):
            given = material(locale=language, privacy=level, count=n, messages=(message, BOB)[:n], mailbox="FOLDER")
            text = everything(category, given)
            assert not [word for word in words if word in text]


def test_at_level_none_there_is_nothing() -> None:
    given = material(privacy=Privacy.NONE)
    assert RENDERER.push("mail.new", given) == Rendered()
    assert RENDERER.mail("mail.new", given) == Rendered()
    assert RENDERER.sms("mail.new", given) == ""


def test_sealed_mail_shows_its_sender_at_most() -> None:
    sealed = msgspec.structs.replace(ANNA, sealed=True)
    text = everything("mail.new", material(privacy=Privacy.PREVIEW, messages=(sealed,)))
    assert "Anna Muster" in text
    assert "Lunch" not in text
    assert "meet at one" not in text


def test_each_level_adds_its_part() -> None:
    def push(level: Privacy) -> tuple[str, str]:
        rendered = RENDERER.push("mail.new", material(privacy=level))
        return rendered.title, rendered.body

    assert [push(level) for level in Privacy] == [
        ("", ""),
        ("1 new message", ""),
        ("Anna Muster", "New message"),
        ("Anna Muster", "Lunch on Friday?"),
        ("Anna Muster", "Lunch on Friday?\nShall we meet at one?"),
    ]


def test_several_messages_name_their_senders_once_and_count_the_rest() -> None:
    people = [MessageSummary(sender=Address(f"p{n}@example.org", f"P{n}")) for n in (1, 2, 1, 3, 4, 5)]
    push = RENDERER.push("mail.new", material(privacy=Privacy.SENDER, count=6, messages=tuple(people)))
    assert (push.title, push.body) == ("P1, P2, P3, and 2 others", "6 new messages")


def test_a_summary_says_what_was_held() -> None:
    push = RENDERER.push("summary", material(counts={"mail.new": 6, "mail.vip": 1, "voicemail.new": 2}, messages=()))
    assert push == Rendered(title="7 new messages and 2 new voicemails")


def test_a_message_without_text_left_falls_back_to_the_count() -> None:
    """The items' summaries are purged before their rows."""
    push = RENDERER.push("mail.new", material(messages=(MessageSummary(),), privacy=Privacy.SENDER))
    assert push.title == "1 new message"


def test_a_call_is_from_its_caller_whatever_its_category() -> None:
    voice = msgspec.structs.replace(ANNA, context=MessageContext.VOICE, caller_name="Dr. Klein")
    assert RENDERER.push("mail.new", material(messages=(voice,))).title == "Dr. Klein"
    assert RENDERER.push("voicemail.new", material()).title == "Voicemail from +493012345"


# Strangers


EVIL = MessageSummary(
    sender=Address("eve@evil.example", "</strong><script>alert(1)</script> http://evil.example"),
    subject="Log in at https://evil.example/login or www.evil.example\r\nBcc: x@y.example",
    snippet="mailto:eve@evil.example \x1b[31m evil.example",
)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("category", [*CATEGORIES, "code"])
def test_nothing_that_anybody_chose_is_markup_in_any_mail(language: str, category: str) -> None:
    """Not the mailbox's name, the account's, a device's nor a service's: macros of a text file escape nothing."""
    tag = "<b>x</b>&amp;"
    evil = MessageSummary(sender=Address(f"a@{tag}", tag), subject=tag, snippet=tag, caller=tag, caller_name=tag)
    chosen = dict.fromkeys(("network", "service", "admin", "device", "code"), tag)
    given = material(
        locale=language,
        privacy=Privacy.PREVIEW,
        messages=(evil, evil),
        count=2,
        mailbox=tag,
        account=tag,
        params=chosen,
    )
    assert "<b>" not in RENDERER.mail(category, given).html


def test_what_a_stranger_wrote_is_never_markup_and_never_a_link() -> None:
    mail = RENDERER.mail("mail.new", material(privacy=Privacy.PREVIEW, messages=(EVIL,)))
    sms = RENDERER.sms("mail.new", material(privacy=Privacy.PREVIEW, messages=(EVIL,)))
    assert "<script" not in mail.html
    assert re.findall(r'href="([^"]*)"', mail.html) == ["https://notify.example.org"]
    body = mail.html.partition("<body>")[2]
    for text in (body, mail.body, sms):
        assert not re.search(r"https?://evil|www\.evil|evil\.example", text)
    assert "eve@evil" not in body + mail.body
    assert "\r" not in mail.title + sms
    assert "\n" not in mail.title + sms


def test_direction_marks_cannot_turn_the_sentence_around_them() -> None:
    spoof = MessageSummary(sender=Address("a@example.org", "Anna\u202egro.live\u2066"), subject="\u200fabc\u2069")
    text = everything("mail.new", material(messages=(spoof,)))
    assert not set(text) & set("\u202e\u2066\u2067\u200f\u2069")


def test_right_to_left_names_are_isolated_and_others_are_left_plain() -> None:
    assert shown("محمد", 50) == "\u2068محمد\u2069"
    assert shown("Anna", 50) == "Anna"


@given(st.text(max_size=400), st.integers(1, 300))
def test_any_text_becomes_one_bounded_line_with_balanced_isolates(text: str, chars_max: int) -> None:
    for harmless in (shown, inert, spaced):
        line = harmless(text, chars_max)
        assert line.splitlines() in ([line], [])
        assert line.count("\u2068") == line.count("\u2069")
        assert not re.search(r"\w://", line) or harmless is shown
    assert len(shown(text, chars_max)) <= chars_max + 2


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
@settings(max_examples=30, deadline=None)
def test_nothing_a_stranger_writes_makes_a_template_fail(sender: str, subject: str, snippet: str) -> None:
    message = MessageSummary(sender=Address("a@example.org", sender), subject=subject, snippet=snippet)
    assert everything("mail.new", material(privacy=Privacy.PREVIEW, messages=(message,)))


# Languages


@pytest.mark.parametrize(
    ("tag", "title"),
    [
        ("de", "1 neue Nachricht"),
        ("de-AT", "1 neue Nachricht"),
        ("DE_at", "1 neue Nachricht"),
        ("en-GB", "1 new message"),
        ("fr", "1 new message"),
        ("", "1 new message"),
        ("../de", "1 new message"),
        ("de/../../etc", "1 new message"),
    ],
)
def test_a_language_is_narrowed_then_widened(tag: str, title: str) -> None:
    assert RENDERER.push("mail.new", material(locale=tag, privacy=Privacy.COUNT)).title == title


def test_times_are_the_readers_and_a_zone_nobody_knows_is_utc() -> None:
    berlin = Moment(AT, zone_of("Europe/Berlin"), locale_of("de"))
    assert (berlin.time, berlin.full, berlin.date) == ("08:12", "24.11.2026, 08:12", "Dienstag, 24. November 2026")
    assert Moment(AT, zone_of("Nowhere/At All"), locale_of("en")).time == "7:12 AM"
    assert Moment(AT, zone_of("../etc"), locale_of("en-GB")).time == "07:12"


def test_numbers_sizes_and_plurals_are_the_languages_own() -> None:
    polish = Speech(Locale("pl"))
    forms = {"one": "{n} wiadomość", "few": "{n} wiadomości", "many": "{n} wiadomości!", "other": "{n} wiadomości?"}
    assert [polish.plural(n, **forms) for n in (1, 3, 5)] == ["1 wiadomość", "3 wiadomości", "5 wiadomości!"]
    german = Speech(Locale("de"))
    assert [german.size(kib) for kib in (0, 1023, 1024, 1_992_294, 2**40)] == [
        "0 KB",
        "1.023 KB",
        "1 MB",
        "1,9 GB",
        "1 PB",
    ]
    assert german.number(12_345) == "12.345"
    assert [Speech.duration(seconds) for seconds in (5, 83, 3_723)] == ["0:05", "1:23", "1:02:03"]


# The digest


def test_a_digest_is_grouped_by_mailbox_the_inbox_first() -> None:
    body = a_digest(an_item(1, mailbox_name="Work"), an_item(2), an_item(3, mailbox_name="inbox"), an_item(4)).body
    headings = re.findall(r"^(\w+ \(\d+\))$", body, flags=re.MULTILINE)
    assert headings == ["Inbox (3)", "Work (1)"]


def test_what_is_over_the_cap_is_counted_and_what_matters_most_is_kept() -> None:
    items = [an_item(n) for n in range(1, 40)]
    items.append(an_item(90, category="voicemail.urgent", summary=BOB, opened=AT - timedelta(days=2)))
    digest = a_digest(*items, max_items=3, total=40)
    assert digest.title == "39 new messages and 1 new voicemail, Tuesday, November 24, 2026"
    assert "and 37 more" in digest.body
    assert [line for line in digest.body.splitlines() if line.startswith("*")] == [
        "* Bob [Urgent voicemail], 22 Nov",
        "* s1@\u2060example.\u2060org, 8:11 AM",
        "* s2@\u2060example.\u2060org, 8:10 AM",
    ]


def test_a_digest_at_the_count_names_no_folder_and_nobody() -> None:
    digest = a_digest(an_item(1, mailbox_name="Divorce"), an_item(2), privacy=Privacy.COUNT)
    assert "2 new messages" in digest.body
    assert not re.search(r"Divorce|Subject|example\.org|@", (digest.title + digest.body).replace("ann@example.org", ""))


def test_the_digests_only_links_are_ours() -> None:
    item = an_item(1, summary=EVIL)
    html = a_digest(item, public_url="https://n.example", unsubscribe_url="https://n.example/u/1").html
    assert re.findall(r'href="([^"]*)"', html) == ["https://n.example", "https://n.example/u/1"]
    assert not re.search(r"<(script|img|link|form)\b", html)


# Pages


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_script_and_acts_only_by_post(language: str, name: str) -> None:
    content = {
        "action": "https://n.example/u/1",
        "undo": "https://n.example/u/1/undo",
        "account": "<b>ann</b>",
        "contact": "<i>home@example.net",
        "still": ["security.login", "own.category"],
        "settings": "https://n.example/",
    }
    html = RENDERER.page(name, language, content)
    assert html.startswith("<!doctype html>")
    assert not re.search(r"<script|<img|<b>|<i>|\son\w+=", html)
    assert re.findall(r'method="(\w+)"', html) in ([], ["post"])
    posts = set(re.findall(r'action="([^"]*)"', html))
    assert posts <= {content["action"], content["undo"]}
    assert bool(posts) == (name not in ("verified", "invalid"))


def test_a_page_shows_what_still_comes_and_leaves_out_what_it_is_not_given() -> None:
    shown_page = RENDERER.page("unsubscribed", "en", {"still": ["security.login"], "unknown": "x"})
    assert "<li>New sign-ins</li>" in shown_page
    assert "<form" not in shown_page
    assert "<ul>" not in RENDERER.page("unsubscribed", "en", {})


def test_the_pages_policy_allows_its_own_style() -> None:
    style = re.search(r"<style>(.*?)</style>", RENDERER.page("invalid", "de", {}), flags=re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in RENDERER.page_csp


def test_an_unknown_page_is_refused() -> None:
    with pytest.raises(RenderError, match="no page"):
        RENDERER.page("../code/email", "en", {})


# An operator's own templates


def overridden(folder: Path, files: dict[str, str]) -> Renderer:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return Renderer(folder)


def test_an_operators_template_comes_first_and_the_rest_stays_ours(tmp_path: Path) -> None:
    renderer = overridden(
        tmp_path,
        {
            "de/mail.new/push.title.txt": "Post!",
            "de-AT/mail.new/push.title.txt": "Poscht!",
            "nl/mail.new/push.title.txt": "{{ plural(n, one='{n} bericht', other='{n} berichten') }}",
            "en/mail.boss/push.title.txt": "The boss",
        },
    )
    titles = {tag: renderer.push("mail.new", material(locale=tag)).title for tag in ("de", "de-AT", "nl", "en")}
    assert titles == {"de": "Post!", "de-AT": "Poscht!", "nl": "1 bericht", "en": "Anna Muster"}
    assert renderer.push("mail.new", material(locale="de-AT", privacy=Privacy.SENDER)).body == "Neue Nachricht"
    assert renderer.push("mail.new", material(locale="nl", privacy=Privacy.SENDER)).body == "New message"
    assert renderer.push("mail.boss", material()).title == "The boss"


def test_a_category_of_the_operators_is_worded_like_its_kind() -> None:
    assert RENDERER.push("mail.boss", material()) == RENDERER.push("mail.new", material())
    assert RENDERER.push("voicemail.work", material()) == RENDERER.push("voicemail.new", material())
    assert RENDERER.push("other.thing", material()) == RENDERER.push("mail.new", material())


def test_an_operators_template_cannot_show_more_than_the_level(tmp_path: Path) -> None:
    files = {"en/mail.new/push.body.txt": "{{ newest.subject }}{{ newest.sender }}{{ newest.snippet }}{{ lines }}"}
    push = overridden(tmp_path, files).push("mail.new", material(privacy=Privacy.COUNT))
    assert "Lunch" not in push.body
    assert "Anna" not in push.body


def test_a_template_that_does_not_compile_stops_the_start_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"push\.title\.txt:2"):
        overridden(tmp_path, {"en/mail.new/push.title.txt": "fine\n{% if %}"})


@pytest.mark.parametrize(
    "template",
    [
        "{{ nothing_of_that_name }}",
        "{{ plural.__globals__ }}",
        "{{ newest.__class__ }}",
        "{{ newest.at._local }}",
        "{% import '_base/words.txt' as words %}{{ words._body_stream }}",
        "{{ n / 0 }}",
        "{% for i in range(100000) %}abc{% endfor %}",
    ],
)
def test_a_template_that_fails_is_a_render_error_and_names_no_content(tmp_path: Path, template: str) -> None:
    renderer = overridden(tmp_path, {"en/mail.new/push.title.txt": template})
    with pytest.raises(RenderError) as failure:
        renderer.push("mail.new", material())
    assert "Anna" not in str(failure.value)
    assert "push.title.txt" in str(failure.value)


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for each in LANGUAGES:
        (GOLDEN / f"{each}.txt").write_text(golden(each) + "\n", "utf-8")

"""The document at the door: what is refused says where and why, what is accepted comes back as it was written."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from notifier.engine.document import (
    DEPLOYMENT,
    DOCUMENT_BYTES_MAX,
    PATCH_DEPTH_MAX,
    USER,
    WINDOWS_MAX,
    decode,
    encode,
    json_schema,
    merge_patch,
    recall,
)
from notifier.errors import InputError
from notifier.model.layer import Preferences

WHOLE: dict[str, Any] = {
    "schema": 1,
    "rev": 412,
    "time_zone": "Europe/Berlin",
    "locale": "de-DE",
    "channels": {"push": {"state": "on", "critical": False}, "sms": {"state": "off"}},
    "categories": {
        "mail.new": {"push": "instant", "sms": "off", "email": "digest"},
        "voicemail.urgent": {"push": "critical"},
    },
    "windows": {
        "night": {
            "tz": "user",
            "rrule": [
                {"days": ["mon", "tue", "wed", "thu", "sun"], "from": "22:00", "to": "07:00"},
                {"from": "23:30", "to": "24:00"},
            ],
            "exceptions": {"dates": {"2026-12-24": {"from": "00:00", "to": "24:00"}, "2026-12-25": "off"}},
        }
    },
    "quiet": [
        {
            "window": "night",
            "channels": {"push": "hold", "sms": "hold", "email": "pass"},
            "at_end": "summary",
            "max_hold": "12h",
            "let_through": ["critical", "bypass_quiet"],
        }
    ],
    "pause": {"until": "2026-11-24T18:00:00+01:00", "reason": "vacation", "mode": "hold"},
    "timing": {"grace": "20s", "active_grace": "120s"},
    "privacy": {"push": "sender", "sms": "count", "email": "subject"},
    "digest": {
        "enabled": True,
        "to": "self",
        "schedule": [{"days": ["mon", "fri"], "at": "07:30"}, {"every": "2h", "minute": 15}],
        "min_items": 1,
        "max_items": 30,
        "skip_read": False,
    },
    "badge": {"mailboxes": ["INBOX", "Work"]},
}


def refused(document: object, layer: str = USER, below: Preferences | None = None) -> list[tuple[str, str]]:
    with pytest.raises(InputError) as caught:
        decode(document, layer=layer, below=below)
    return list(caught.value.errors)


def test_a_whole_document_comes_back_exactly_as_it_was_written() -> None:
    """Also the durations and moments: `120s` is not rewritten as `2m`, `+01:00` not as `Z`."""
    assert encode(decode(WHOLE, layer=USER), rev=412) == WHOLE


@pytest.mark.parametrize("document", [{}, {"channels": {}}, {"quiet": []}, {"windows": {"night": {"rrule": []}}}])
def test_an_empty_map_or_list_is_not_the_same_as_a_missing_key(document: dict[str, Any]) -> None:
    assert encode(decode(document, layer=USER)) == document


def test_every_fault_is_found_at_once_each_with_its_pointer() -> None:
    faults = refused(
        {
            "channels": {"sms": {"monthly_budget": 3}},
            "categories": {"mail.new": {"push": "loud"}, "a/b~c": {}},
            "timing": {"grace": "2h"},
            "digest": {"schedule": [{"at": "07:30"}, {"at": "7:30"}]},
            "rules": [],
        }
    )
    assert [at for at, _ in faults] == [
        "/channels/sms/monthly_budget",
        "/categories/mail.new/push",
        "/categories/a~1b~0c",
        "/timing/grace",
        "/digest/schedule/1/at",
        "/rules",
    ]


def test_a_refusal_says_what_was_found_and_what_is_accepted() -> None:
    assert refused({"categories": {"mail.new": {"push": "loud"}}}) == [
        ("/categories/mail.new/push", 'found "loud"; accepted: off, silent, digest, fallback, instant, critical')
    ]


@pytest.mark.parametrize(
    "key", ["rules", "sets", "caps", "chains", "inhibit", "snooze", "contacts", "devices", "Channels"]
)
def test_a_key_nothing_acts_on_is_refused_with_its_path(key: str) -> None:
    ((at, text),) = refused({key: []})
    assert at == f"/{key}"
    assert text.startswith(f'unknown key "{key}"; accepted here: time_zone')


@pytest.mark.parametrize(
    ("document", "at"),
    [
        ([], ""),
        (None, ""),
        ({"schema": 2}, "/schema"),
        ({"rev": -1}, "/rev"),
        ({"rev": True}, "/rev"),
        ({"time_zone": "Europe/Bielefeld"}, "/time_zone"),
        ({"time_zone": "../../etc/passwd"}, "/time_zone"),
        ({"time_zone": "localtime"}, "/time_zone"),
        ({"time_zone": "Europe"}, "/time_zone"),
        ({"time_zone": "+01:00"}, "/time_zone"),
        ({"time_zone": None}, "/time_zone"),
        ({"locale": "de DE"}, "/locale"),
        ({"channels": {"fax": {}}}, "/channels/fax"),
        ({"channels": {"push": {"state": True}}}, "/channels/push/state"),
        ({"channels": {"sms": {"critical": True}}}, "/channels/sms/critical"),
        ({"categories": {"mail.new": "off"}}, "/categories/mail.new"),
        ({"categories": {"mail.new": {"webpush": "off"}}}, "/categories/mail.new/webpush"),
        ({"categories": {"no.such": {}}}, "/categories/no.such"),
        ({"windows": {"n": {"rrule": [{"from": "22:00"}]}}}, "/windows/n/rrule/0/to"),
        ({"windows": {"n": {"rrule": [{"from": "24:00", "to": "07:00"}]}}}, "/windows/n/rrule/0/from"),
        ({"windows": {"n": {"rrule": [{"from": "२२:००", "to": "07:00"}]}}}, "/windows/n/rrule/0/from"),
        ({"windows": {"n": {"rrule": {"days": []}}}}, "/windows/n/rrule"),
        ({"windows": {"n": {"rrule": [{"days": ["Mon"], "from": "1:00", "to": "2:00"}]}}}, "/windows/n/rrule/0/days/0"),
        ({"windows": {"n": {"tz": "here"}}}, "/windows/n/tz"),
        (
            {"windows": {"n": {"exceptions": {"dates": {"2026-02-30": "off"}}}}},
            "/windows/n/exceptions/dates/2026-02-30",
        ),
        ({"windows": {"n": {"exceptions": {"dates": {"2026-02-28": []}}}}}, "/windows/n/exceptions/dates/2026-02-28"),
        ({"windows": {"": {}}}, "/windows/"),
        ({"windows": {str(n): {} for n in range(WINDOWS_MAX + 1)}}, "/windows"),
        ({"quiet": [{"window": "none"}]}, "/quiet/0/window"),
        ({"windows": {"n": {}}, "quiet": [{}]}, "/quiet/0"),
        ({"windows": {"n": {}}, "quiet": [{"window": "n"}, {"window": "n"}]}, "/quiet/1/window"),
        ({"windows": {"n": {}}, "quiet": [{"window": "n", "at_end": "release"}]}, "/quiet/0/at_end"),
        ({"windows": {"n": {}}, "quiet": [{"window": "n", "max_hold": "8d"}]}, "/quiet/0/max_hold"),
        ({"windows": {"n": {}}, "quiet": [{"window": "n", "let_through": ["vip"]}]}, "/quiet/0/let_through/0"),
        ({"pause": {"mode": "hold"}}, "/pause/until"),
        ({"pause": {"until": "2026-11-24T18:00:00"}}, "/pause/until"),
        ({"pause": {"until": "2026-11-24T25:00:00Z"}}, "/pause/until"),
        ({"pause": {"until": 1_800_000_000}}, "/pause/until"),
        ({"pause": {"until": "2026-11-24T18:00:00Z", "reason": "a\nb"}}, "/pause/reason"),
        ({"timing": {"grace": 20}}, "/timing/grace"),
        ({"timing": {"collapse": "thread"}}, "/timing/collapse"),
        ({"privacy": {"push": 2}}, "/privacy/push"),
        ({"digest": []}, "/digest"),
        ({"digest": {"only_if_inactive": "2h"}}, "/digest/only_if_inactive"),
        ({"digest": {"schedule": [{"days": ["mon"]}]}}, "/digest/schedule/0"),
        ({"digest": {"schedule": [{"at": "07:30", "every": "1h"}]}}, "/digest/schedule/0"),
        ({"digest": {"schedule": [{"at": "07:30", "minute": 3}]}}, "/digest/schedule/0"),
        ({"digest": {"schedule": [{"every": "0h"}]}}, "/digest/schedule/0/every"),
        ({"digest": {"schedule": [{"every": "1h"}, {"every": "2h"}]}}, "/digest"),
        ({"digest": {"min_items": 0}}, "/digest/min_items"),
        ({"digest": {"max_items": 1.5}}, "/digest/max_items"),
        ({"digest": {"skip_read": "yes"}}, "/digest/skip_read"),
        ({"badge": {"mailboxes": [""]}}, "/badge/mailboxes/0"),
        ({"badge": {"mailboxes": ["INBOX\x00"]}}, "/badge/mailboxes/0"),
    ],
)
def test_a_wrong_value_is_refused_at_its_pointer(document: object, at: str) -> None:
    assert refused(document)[0][0] == at


def test_constraint_and_ceiling_are_the_deployments_words() -> None:
    document = {
        "categories": {"security.login": {"email": "instant", "constraint": {"email": "require", "sms": "forbid"}}},
        "privacy": {"ceiling": "sender"},
    }
    assert encode(decode(document, layer=DEPLOYMENT)) == document
    assert [at for at, _ in refused(document)] == ["/categories/security.login/constraint", "/privacy/ceiling"]


def test_a_user_may_name_the_categories_and_windows_of_the_layer_below() -> None:
    below = decode({"categories": {"task.due": {"push": "instant"}}, "windows": {"work": {}}}, layer=DEPLOYMENT)
    document = {"categories": {"task.due": {"push": "off"}}, "quiet": [{"window": "work"}]}
    assert encode(decode(document, layer=USER, below=below)) == document
    assert [at for at, _ in refused(document)] == ["/categories/task.due", "/quiet/0/window"]


def test_a_refused_entry_does_not_shift_the_pointer_of_the_next() -> None:
    faults = refused({"quiet": [17, {"window": "none"}]})
    assert [at for at, _ in faults] == ["/quiet/0", "/quiet/1/window"]


def test_tomls_own_times_are_taken() -> None:
    """The deployment's layer stands in a TOML file."""
    parsed = tomllib.loads(
        """
        pause = {until = 2026-11-24T18:00:00Z}
        digest.schedule = [{at = 07:30:00}]
        windows.night.rrule = [{from = 22:00:00, to = 07:00:00}]
        """
    )
    assert encode(decode(parsed, layer=DEPLOYMENT)) == {
        "windows": {"night": {"rrule": [{"from": "22:00", "to": "07:00"}]}},
        "pause": {"until": "2026-11-24T18:00:00+00:00"},
        "digest": {"schedule": [{"at": "07:30"}]},
    }


def test_what_is_too_large_or_too_deep_is_refused_as_a_whole() -> None:
    assert refused({"pause": {"reason": "x" * DOCUMENT_BYTES_MAX}})[0][0] == ""
    deep: object = "x"
    for _ in range(100_000):
        deep = [deep]
    assert refused({"rules": deep}) == [("", "the document is nested too deeply")]


def test_faults_and_what_they_repeat_are_bounded() -> None:
    faults = refused({f"k{n}" * 100: n for n in range(100)})
    assert len(faults) == 50
    assert max(len(at) + len(text) for at, text in faults) < 600


def test_a_stored_document_never_fails_what_it_says_no_more_is_left_to_the_layer_below() -> None:
    stored = {"time_zone": "Mars/Olympus", "locale": "de", "rules": [], "timing": {"grace": "1y", "active_grace": "5m"}}
    assert encode(recall(stored, layer=USER)) == {"locale": "de", "timing": {"active_grace": "5m"}}
    assert recall("nonsense", layer=USER) == Preferences()


@pytest.mark.parametrize(
    ("document", "patch", "merged"),
    [  # RFC 7396, Appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_rfc_7396_lists(document: object, patch: object, merged: object) -> None:
    assert merge_patch(document, patch) == merged


def test_a_patch_nested_too_deeply_is_refused() -> None:
    patch: dict[str, object] = {}
    for _ in range(PATCH_DEPTH_MAX + 1):
        patch = {"a": patch}
    with pytest.raises(InputError):
        merge_patch({}, patch)


def test_the_schema_describes_what_is_accepted_and_nothing_else() -> None:
    user, deployment = json_schema(USER), json_schema(DEPLOYMENT)
    assert list(user["properties"]) == list(WHOLE)
    assert user["additionalProperties"] is False
    assert "constraint" not in user["properties"]["categories"]["additionalProperties"]["properties"]
    assert "constraint" in deployment["properties"]["categories"]["additionalProperties"]["properties"]
    assert user["properties"]["quiet"]["items"]["required"] == ["window"]

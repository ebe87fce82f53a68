"""The configuration: what is understood, what is refused and in which words, and that nothing secret is shown."""

from __future__ import annotations

import json
import re
import shlex
import socket
import stat
import tomllib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import hypothesis
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import strategies as st

from notifier.channels.apns import ApnsSettings
from notifier.channels.email import EmailSettings
from notifier.channels.fcm import FcmSettings
from notifier.channels.sms import SmsSettings
from notifier.config import Config, default_config, load, secret_keys
from notifier.config.describe import describe, greeting
from notifier.config.fixed import needs_a_restart
from notifier.config.load import BUILT_IN, PLAIN, understand
from notifier.config.reader import duration, env_name
from notifier.config.sections import Channels
from notifier.config.systemd import inherited_sockets
from notifier.dialects import DIALECTS
from notifier.errors import ConfigError
from notifier.model.event import EventType, Parsed
from notifier.model.source import Namespace, SourceRules, VoicemailRules
from tests.servers.fcm import service_account

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.toml"

SMALL = """
[operator]
token = "operators-token-0001"
[sources.mail1]
dialect = "rfc5423"
token = "source-one-token-0001"
domains = ["Example.ORG", "Bücher.example"]
default_domain = "example.org"
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes config.toml, readable by its owner only, and the files beside it."""

    def write(text: str, **files: str) -> Path:
        for name, content in files.items():
            (tmp_path / name).write_text(content, encoding="utf-8")
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    return write


def complaints(path: Path, **environ: str) -> list[str]:
    """What `load` refuses the file for, a line each, without the file's name."""
    with pytest.raises(ConfigError) as refused:
        load(path, environ)
    lines = str(refused.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_a_small_file_is_understood_with_canonical_names_and_absolute_paths(write: Write, tmp_path: Path) -> None:
    config = load(write(SMALL), {})
    source = config.sources["mail1"]
    assert source.rules.domains == ("example.org", "xn--bcher-kva.example")
    assert source.rules.mail_store == "mail1"
    assert source.tokens == ("source-one-token-0001",)
    assert config.store.path == tmp_path / "var" / "notifier.db"
    assert (config.server.host, config.server.port) == ("127.0.0.1", 5423)
    assert config.server.public_url == "http://127.0.0.1:5423"


def test_the_built_in_configuration_makes_its_tokens_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first, second = default_config(tmp_path, environ={}), default_config(tmp_path, environ={})
    assert first == second
    assert first.operator.token != first.sources["local"].tokens[0]
    for name in ("operator.token", "local.token"):
        assert stat.S_IMODE((tmp_path / "var" / name).stat().st_mode) == 0o600
    assert first.store.path == tmp_path / "var" / "notifier.db"
    assert first.channels.console
    assert first.warnings == ()


def test_the_built_in_configuration_writes_nothing_when_told_so(tmp_path: Path) -> None:
    config = default_config(tmp_path, make=False, environ={})
    assert not config.operator.token
    assert list(tmp_path.iterdir()) == []


def test_the_greeting_names_one_line_to_try_and_no_secret(tmp_path: Path) -> None:
    config = default_config(tmp_path, environ={})
    lines = greeting(config, "http://127.0.0.1:5423")
    assert config.sources["local"].tokens[0] not in "\n".join(lines)
    # The shell puts the time where the line asks for it, so that each run reports another mail.
    command = shlex.split(lines[-1].replace("$(date +%s)", "1795515777"))
    assert command[:2] == ["curl", "http://127.0.0.1:5423/v1/events"]
    (taken,) = DIALECTS["rfc5423"](command[-1].encode(), "", config.sources["local"].rules, config.limits)
    assert isinstance(taken, Parsed)
    assert (taken.event.type, taken.event.owner, taken.event.mailbox, taken.event.uid) == (
        EventType.MESSAGE_NEW,
        "ann@localhost",
        "INBOX",
        1795515777,
    )


WRONG: dict[str, tuple[str, list[str]]] = {
    "an unknown key with the one that was meant": (
        '[server]\nlissen = "x"',
        ["server.lissen: found an unknown key, expected listen?"],
    ),
    "an unknown section": ("[sever]\n", ["sever: found an unknown key, expected server?"]),
    "another type": (
        "[server]\nbody_bytes_max = true",
        ["server.body_bytes_max: found true, expected a whole number"],
    ),
    "a number out of bounds": (
        "[server]\nbody_bytes_max = 3",
        ["server.body_bytes_max: found 3, expected a whole number >= 1024"],
    ),
    "a duration without its unit": (
        '[digest]\nspread = "120"',
        ['digest.spread: found \'120\', expected a duration such as "120s", "5m", "24h" or "14d"'],
    ),
    "a word that is none of a few": (
        '[log]\nlevel = "loud"',
        ['log.level: found \'loud\', expected one of "debug", "info", "warning", "error"'],
    ),
    "a listening address without a port": (
        '[server]\nlisten = "localhost"',
        ["server.listen: found 'localhost', expected an address and a port such as \"127.0.0.1:5423\""],
    ),
    "another store": (
        '[store]\nurl = "postgresql://u:secret@host/db"',
        ['store.url: found another URL, expected "sqlite:///" and the path of a file; this release has no other store'],
    ),
    "two ways to know a user": (
        '[users]\njwt_secret = "0123456789abcdef0123456789abcdef"\njwks_file = "k"\nissuer = "i"\naudience = "a"',
        [
            "users: found jwt_secret and jwks_file, expected exactly one of jwt_secret, jwks_file and jwks_url",
            "users.jwks_file: found ",
        ],
    ),
    "a short HS256 key": (
        '[users]\njwt_secret = "short"',
        ["users.jwt_secret: found 5 bytes, expected at least 32 bytes (RFC 7518 §3.2)"],
    ),
    "a key set without issuer and audience, over plain HTTP": (
        '[users]\njwks_url = "http://login.example.org/jwks"',
        [
            "users.issuer: found nothing, expected the value that tokens signed by this key set carry",
            "users.audience: found nothing, expected the value that tokens signed by this key set carry",
            "users.jwks_url: found 'http://login.example.org/jwks', "
            "expected https: whoever changes the key set becomes anybody",
        ],
    ),
    "a history shorter than a spool": (
        '[retention]\nhistory = "1d"',
        [
            "retention.history: found 1d, expected at least 3d, or what is repeated late is sent twice",
        ],
    ),
    "a spread longer than an hour": ('[digest]\nspread = "48h"', ["digest.spread: found 2d, expected at most an hour"]),
    "a port that is none in a URL": (
        '[server]\npublic_url = "https://n.example:x"',
        ["server.public_url: found 'https://n.example:x', expected a URL such as "],
    ),
    "a store that is a folder": ('[store]\nurl = "sqlite:///."', ["store.url: found "]),
    "a source without token and domains": (
        '[sources.m]\ndialect = "rfc5423"',
        [
            "sources.m.token: found 0 tokens, expected token, or tokens = [1 to 16]",
            'sources.m.domains: found nothing, expected the domains it may speak for; ["*"] for all',
        ],
    ),
    "a deployment's wish that does nothing": (
        '[preferences.categories."mail.new"]\npush = "loud"',
        ["preferences.categories.mail.new.push"],
    ),
    "a section that is no table": ("sources = 3", ["sources: found 3, expected a table with one section per name"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_fault_names_file_key_found_and_expected(write: Write, case: str) -> None:
    text, expected = WRONG[case]
    found = complaints(write(text))
    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True)), found


def test_all_faults_are_said_at_once(write: Write) -> None:
    text = (
        '[server]\nlisten = 3\nbody = 1\n[digest]\nspread = 1\n[sources.a]\nuser_case = "upper"\n[channels]\nsmoke = 1'
    )
    found = complaints(write(text))
    assert [line.split(": ")[0] for line in found] == [
        "server.listen",
        "server.body",
        "digest.spread",
        "sources.a.token",
        "sources.a.user_case",
        "sources.a.domains",
        "channels.smoke",
    ]


HIDDEN: dict[str, tuple[str, list[str]]] = {
    "a source": (
        '[sources.m]\ntoken = "source-one-token-0001"\ndomains = ["a.example"]\naliases_file = "absent"\n'
        'separator = "::"\nuser_case = "upper"\ntrusted_networks = ["x"]\nnamespaces = [{ prefix = "" }, 3]',
        [
            "sources.m.namespaces[0].prefix",
            "sources.m.namespaces[1]",
            "sources.m.user_case",
            "sources.m.separator",
            "sources.m.trusted_networks",
            "sources.m.aliases_file",
        ],
    ),
    "mail": (
        '[channels.email]\ntls = "ssl"\nhost = " "\nfrom = "nobody"\nport = 70_000\nusername = "u"\nca_file = "absent"',
        [
            "channels.email.tls",
            "channels.email.host",
            "channels.email.ca_file",
            "channels.email.from",
            "channels.email.port",
            "channels.email.password",
        ],
    ),
    "SMS": (
        '[channels.sms]\naccount_sid = 3\nauth_token = "t"\nbase_url = "api.twilio.com"\nsegments_max = 11\n'
        'status_callback = "x"\ntime_limit_s = 0',
        [
            "channels.sms.account_sid",
            "channels.sms.time_limit_s",
            "channels.sms",
            "channels.sms.segments_max",
            "channels.sms.base_url",
            "channels.sms.status_callback",
        ],
    ),
    "retention": ('[retention]\njournal = 3\nhistory = "1d"', ["retention.journal", "retention.history"]),
    "the server": ('[server]\nrequests_max = 0\nlisten = "x"', ["server.requests_max", "server.listen"]),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_a_fault_hides_no_other_of_its_section_and_is_said_once(write: Write, case: str) -> None:
    text, keys = HIDDEN[case]
    assert [line.split(": ")[0] for line in complaints(write(text))] == keys


@pytest.mark.parametrize("key", ["password", "username"])
def test_of_what_could_not_be_read_nothing_follows(write: Write, key: str) -> None:
    """A username whose password's file is not there has a password."""
    lines = {"password": 'username = "u"\npassword_file = "absent"', "username": 'password = "p"\nusername = 3'}
    (line,) = complaints(write(f'[channels.email]\nhost = "h"\nfrom = "a@b.example"\n{lines[key]}'))
    assert line.startswith(f"channels.email.{key}")


def test_a_file_that_is_no_toml_is_refused_with_its_line(write: Write) -> None:
    assert "line 2" in complaints(write('[server]\nlisten "x"'))[0]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert complaints(tmp_path / "absent.toml") == ["found No such file or directory, expected a readable TOML file"]


def test_user_from_metadata_is_refused_with_the_reason(write: Write) -> None:
    (line,) = complaints(write(SMALL + "user_from_metadata = true\n"))
    assert line.startswith("sources.mail1.user_from_metadata: ")
    assert "any IMAP client of an account can set that value" in line


def test_two_callers_never_share_a_token(write: Write) -> None:
    text = SMALL + '[sources.mail2]\ntoken = "source-one-token-0001"\ndomains = ["x.example"]\n'
    assert complaints(write(text)) == [
        "sources.mail2.token: found the token of sources.mail1, expected a token of its own"
    ]


def test_a_secret_comes_from_the_table_a_file_or_the_environment_which_wins(write: Write) -> None:
    text = '[operator]\ntoken_file = "op"\n[sources.mail-1]\ndomains = ["a.example"]\ntoken = "in-the-table-000001"\n'
    path = write(text, op="from-a-file-0000001\n")
    config = load(path, {})
    assert (config.operator.token, config.sources["mail-1"].tokens) == ("from-a-file-0000001", ("in-the-table-000001",))
    config = load(path, {"NOTIFIER_OPERATOR_TOKEN": "environs-own-000001", "NOTIFIER_SOURCES_MAIL_1_TOKEN": "another"})
    assert (config.operator.token, config.sources["mail-1"].tokens) == ("environs-own-000001", ("another",))


def test_tokens_of_a_source_add_up_so_that_one_can_be_rotated(write: Write) -> None:
    config = load(write(SMALL + 'tokens = ["new-token-000000001"]\n'), {"NOTIFIER_SOURCES_MAIL1_TOKENS": "x1 x2"})
    assert config.sources["mail1"].tokens == ("source-one-token-0001", "new-token-000000001", "x1", "x2")


SECRET_FAULTS = {
    'token = "a"\ntoken_file = "b"': "operator.token: found both token and token_file, expected one of them",
    'token_file = "absent"': "operator.token_file: found ",
    'token_file = "void"': "operator.token_file: found ",
    "token = 3": "operator.token: found a value of type int, expected a text",
}


@pytest.mark.parametrize("text", SECRET_FAULTS)
def test_a_secret_that_cannot_be_had_is_a_fault_without_its_value(write: Write, text: str) -> None:
    (line,) = complaints(write(f"[operator]\n{text}", void=""))
    assert line.startswith(SECRET_FAULTS[text])


def test_no_secret_is_in_the_repr_the_description_or_a_complaint(write: Write) -> None:
    """Every value under a secret's key, and the value of a misspelt one."""
    text = EXAMPLE.read_text(encoding="utf-8")
    secrets = re.findall(r"^(?:token|jwt_secret|auth_token|password) = \"(.*?)\"", text, re.MULTILINE)
    config = _example(write)
    shown = repr(config) + "\n".join(describe(config)) + "\n".join(config.warnings)
    assert len(secrets) == 5
    assert not [secret for secret in secrets if secret in shown]
    assert "hunter2" not in "".join(complaints(write('[operator]\npasword = "hunter2"')))


def p8(curve: ec.EllipticCurve | None = None) -> str:
    """What Apple gives out."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _example(write: Write) -> Config:
    """The example with the files it names beside it."""
    return load(
        write(
            EXAMPLE.read_text(encoding="utf-8"),
            **{"AuthKey_ABC.p8": p8(), "service-account.json": json.dumps(service_account())},
        ),
        {},
    )


def test_the_example_is_understood(write: Write) -> None:
    config = _example(write)
    assert set(config.channels.apns) == {"ios-mail"}
    assert set(config.channels.fcm) == {"android-mail"}
    assert config.sources["mail1"].rules.namespaces[0] == Namespace(prefix="shared/%u/", owner="%u")
    assert config.sources["mail1"].rules.voicemail.senders == ("pbx@example.org",)
    assert config.preferences["time_zone"] == "Europe/Berlin"
    assert config.channels.sms is not None
    assert config.channels.sms.status_callback == "https://notify.example.org/v1/callbacks/twilio/status"


@pytest.mark.parametrize("key", ["no PEM", p8(ec.SECP384R1())], ids=["text", "P-384"])
def test_an_apns_key_that_is_none_is_refused_without_showing_it(write: Write, key: str) -> None:
    text = '[channels.apns.a]\ntopic = "t"\nkey_id = "k"\nteam_id = "t"\nkey_file = "p8"\nin_flight_max = 0\n'
    assert complaints(write(text, p8=key)) == [
        "channels.apns.a.in_flight_max: found 0, expected a number above 0",
        "channels.apns.a.key: found something else, expected PEM of a P-256 private key (Apple's .p8 file)",
    ]


def test_a_service_account_is_its_json_and_never_shown(write: Write) -> None:
    text = '[channels.fcm.a]\nservice_account_file = "account"\n'
    account = service_account()
    config = load(write(text, account=json.dumps(account)), {})
    assert config.channels.fcm["a"].service_account == account
    assert account["private_key"] not in repr(config) + "\n".join(describe(config))
    assert complaints(write(text, account="[hunter2")) == [
        "channels.fcm.a.service_account: found something else, expected the JSON of it, as it was given out"
    ]


EMAIL = '[channels.email]\nhost = "h"\nfrom = "a@b.example"\n'
APNS = '[channels.apns.a]\ntopic = "t"\nkey_id = "k"\nteam_id = "t"\nkey_file = "p8"\n'
FCM = '[channels.fcm.a]\nservice_account_file = "account"\n'
KEY_SET = '[users]\nissuer = "i"\naudience = "a"\njwks_file = "keys"\n'
REACHED: dict[str, tuple[str, str]] = {
    "a key set that is not there": (
        KEY_SET.replace("keys", "absent"),
        "users.jwks_file: found {}/absent: No such file or directory, "
        "expected a JSON Web Key Set with a key for RS256 or ES256",
    ),
    "a key set that is no JSON": (KEY_SET, "users.jwks_file: found {}/keys: no key set, expected a JSON Web Key Set"),
    "an address of Apple's that is none": (
        APNS + 'server = "https://x:y"',
        "channels.apns.a.server: found 'https://x:y', expected host:port",
    ),
    "an address of the sandbox that is none": (
        APNS + 'sandbox_server = "x:0"',
        "channels.apns.a.sandbox_server: found 'x:0', expected host:port",
    ),
    "authorities of Apple's that are not there": (
        APNS + 'ca_file = "absent"',
        "channels.apns.a.ca_file: found {}/absent: No such file or directory, expected a PEM file of certificates",
    ),
    "authorities for mail that are not there": (
        EMAIL + 'ca_file = "absent"',
        "channels.email.ca_file: found {}/absent: No such file or directory, expected a PEM file of certificates",
    ),
    "authorities for mail that are no PEM": (
        EMAIL + 'ca_file = "keys"',
        "channels.email.ca_file: found {}/keys: no certificate in it, expected a PEM file of certificates",
    ),
    "a mail account without its password": (
        EMAIL + 'username = "u"',
        "channels.email.password: found nothing, expected what belongs to username",
    ),
    "a service account without anything": (
        FCM,
        "channels.fcm.a.service_account: found something else, expected the JSON of a Google service account",
    ),
    "an address of Google's in the clear": (
        FCM.replace('account"', 'real"\nendpoint = "http://fcm.example.org"'),
        "channels.fcm.a.endpoint: found 'http://fcm.example.org', expected https://… or, to loopback, http://…",
    ),
    "two senders of SMS": (
        '[channels.sms]\naccount_sid = "a"\nauth_token = "t"\nfrom = "+1"\nmessaging_service_sid = "m"',
        "channels.sms: found from and messaging_service_sid, expected exactly one of from and messaging_service_sid",
    ),
}


@pytest.mark.parametrize("case", REACHED)
def test_what_would_only_show_in_operation_is_said_before_under_its_key(
    write: Write, tmp_path: Path, case: str
) -> None:
    text, expected = REACHED[case]
    (line,) = complaints(write(text, p8=p8(), keys="x", account="{}", real=json.dumps(service_account())))
    assert line.startswith(expected.format(tmp_path)), line


TABLES: list[tuple[str, type[msgspec.Struct]]] = [
    *PLAIN.items(),
    ("sources.mail1", SourceRules),
    ("sources.mail1.voicemail", VoicemailRules),
    ("channels.apns.ios-mail", ApnsSettings),
    ("channels.fcm.android-mail", FcmSettings),
    ("channels.sms", SmsSettings),
    ("channels.email", EmailSettings),
    ("channels", Channels),
]
# What a provider gives out is a file: the example names it so.
NOT_SETTINGS = {
    ("sources.mail1", "name"),
    ("sources.mail1", "aliases"),
    ("channels.apns.ios-mail", "key"),
    ("channels.fcm.android-mail", "service_account"),
}
BY_THEIR_OWN_RULES = {("sources.mail1", "token"), ("sources.mail1", "tokens"), ("sources.mail1", "aliases_file")}


def settings() -> Iterator[tuple[str, str]]:
    """Every (section, key) there is."""
    yield from BY_THEIR_OWN_RULES
    for section, kind in TABLES:
        for field in msgspec.structs.fields(kind):
            if (section, field.encode_name) not in NOT_SETTINGS:
                yield section, field.encode_name


def named_in_the_example() -> set[tuple[str, str]]:
    """Keys of each section, those behind a comment's `#` too, and its sub-sections."""
    named: set[tuple[str, str]] = set()
    section = ""
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if header := re.match(r"\[([^\]]+)\]", line):
            section = header[1]
            parts = section.split(".")
            named |= {(".".join(parts[:end]), parts[end]) for end in range(1, len(parts))}
        elif key := re.match(r"(?:# )?(\w+) = ", line):
            named.add((section, key[1]))
    return named


def test_the_example_names_every_setting() -> None:
    assert set(settings()) - named_in_the_example() == set()


def test_the_example_states_the_defaults() -> None:
    """Where a plain section's default is a value at all, the example shows that one."""
    document: dict[str, Any] = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    different = []
    for section, kind in PLAIN.items():
        for field in msgspec.structs.fields(kind):
            shown, default = document[section].get(field.encode_name), field.default
            if isinstance(default, timedelta):
                shown = duration(shown)
            if isinstance(default, tuple):
                shown = tuple(shown)
            if shown != default:
                different.append(f"{section}.{field.encode_name}")
    assert different == [
        "server.public_url",
        "operator.token",
        "users.jwt_secret",
        "users.jwks_url",
    ]


def test_aliases_are_canonical_on_both_sides(write: Write) -> None:
    text = SMALL + 'aliases_file = "aliases"\n'
    path = write(text, aliases="# who\nInfo@Example.org  ann+x@example.org\n\nbob ann # b\n")
    assert load(path, {}).sources["mail1"].rules.aliases == {
        "info@example.org": "ann@example.org",
        "bob@example.org": "ann@example.org",
    }
    (line,) = complaints(write(text, aliases="a b c\n"))
    assert line.startswith("sources.mail1.aliases_file: found ")


WARNED = {
    SMALL.replace("operators-token-0001", "short"): "A token shorter than 16 characters can be guessed: operator.",
    SMALL.replace("Example.ORG", "*"): 'domains = ["*"] (mail1)',
    SMALL + '[server]\nlisten = "0.0.0.0:80"\n': "server.listen 0.0.0.0:80 is reached from other machines",
    SMALL + '[server]\npublic_url = "http://n.example/"\n': "server.public_url is http://",
    SMALL.replace("[operator]", "[users]").replace("token", "claim", 1): "operator.token is not set",
    "[operator]\n": "There is no [sources.…] section",
    SMALL.replace('domain = "example.org"', 'domain = "other.example"'): "default_domain is not among the",
    SMALL + '[sources.mail2]\ntoken = "the-second-token-1"\ndomains = ["example.org"]\nuser_case = "keep"\n': (
        "example.org is read with different user_case or detail_delimiter by mail1 and mail2"
    ),
    SMALL: "There is no [channels.…] section",
}


@pytest.mark.parametrize("text", WARNED)
def test_what_is_perhaps_not_meant_is_a_warning(write: Write, text: str) -> None:
    assert any(warning.startswith(WARNED[text]) for warning in load(write(text), {}).warnings)


def test_an_environment_variable_nobody_reads_is_a_warning(write: Write) -> None:
    warnings = load(write(SMALL), {"NOTIFIER_OPERATER_TOKEN": "x", "NOTIFIER_CONFIG": "y"}).warnings
    assert [line for line in warnings if "NOTIFIER_" in line] == [
        "NOTIFIER_OPERATER_TOKEN in the environment names no secret of this configuration; it does nothing."
    ]


def test_a_file_with_secrets_that_everybody_can_read_is_a_warning(write: Write) -> None:
    path = write(SMALL)
    path.chmod(0o644)
    assert "can be read by everybody" in load(path, {}).warnings[0]


def test_secret_keys_are_made_once_beside_the_database_and_older_ones_still_open(write: Write, tmp_path: Path) -> None:
    text = SMALL + '[server]\nsecret_key_files = ["new.key", "old.key"]\n'
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "old.key").write_text("an-older-key-of-us-0001\n")
    config = load(write(text), {})
    first = secret_keys(config)
    assert first == secret_keys(config)
    assert first[1] == b"an-older-key-of-us-0001"
    assert len(first[0]) >= 32
    assert stat.S_IMODE((tmp_path / "var" / "new.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "var").iterdir()) == ["new.key", "old.key"]


@pytest.mark.parametrize("content", ["", "short"])
def test_a_key_file_that_is_no_secret_is_refused(write: Write, tmp_path: Path, content: str) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "secret.key").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="at least 16"):
        secret_keys(load(write(SMALL), {}))


def test_what_a_reload_leaves_as_it_was_is_named(write: Write) -> None:
    started = load(write(SMALL), {})
    assert needs_a_restart(started, load(write(SMALL + "everyone = true\n"), {})) == []
    changed = (
        SMALL + '[server]\nlisten = "127.0.0.1:1"\npublic_url = "http://127.0.0.1:5423"\n[retention]\nhistory = "5d"\n'
    )
    assert needs_a_restart(started, load(write(changed), {})) == ["server.listen", "retention"]


VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.datetimes()
    | st.sampled_from(["5s", "*", "/"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
KEYS = sorted({key for _, key in settings()} | {"apns", "fcm", "sms", "email", "tokens_file", "user_from_metadata"})
TREES = st.recursive(
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4),
    lambda inner: st.dictionaries(st.sampled_from([*KEYS, "mail1", "a.b"]), inner | VALUES, max_size=4),
    max_leaves=6,
)
SECTIONS = [*PLAIN, "sources", "channels", "preferences"]


@hypothesis.given(st.dictionaries(st.sampled_from(SECTIONS), TREES | VALUES, max_size=4))
@hypothesis.settings(max_examples=300, deadline=None)
def test_any_document_is_understood_or_refused_with_its_path(document: dict[str, Any]) -> None:
    """Nothing an operator can write raises anything but ConfigError."""
    complaint = ""
    try:
        assert describe(understand(document, None, Path("/nowhere"), {}))
    except ConfigError as refused:
        complaint = str(refused)
    assert all(line.startswith(f"{BUILT_IN}: ") for line in complaint.splitlines())


DURATIONS = {
    "500ms": timedelta(milliseconds=500),
    "120s": timedelta(minutes=2),
    "14d": timedelta(days=14),
    "5": None,
    "-5s": None,
    "5 s": None,
    "": None,
    5: None,
}


@pytest.mark.parametrize("text", DURATIONS)
def test_durations_have_a_unit(text: object) -> None:
    assert duration(text) == DURATIONS[text]


def test_the_environment_names_a_secret_by_section_and_key() -> None:
    assert env_name("channels.apns.ios-mail.key") == "NOTIFIER_CHANNELS_APNS_IOS_MAIL_KEY"


def test_sockets_meant_for_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    assert inherited_sockets(environ, pid=2) == []
    assert environ == {"LISTEN_PID": "1", "LISTEN_FDS": "1"}


def test_a_socket_from_systemd_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setattr("notifier.config.systemd.FIRST_DESCRIPTOR", listening.detach())
        environ = {"LISTEN_PID": "7", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}
        (taken,) = inherited_sockets(environ, pid=7)
        with taken:
            assert environ == {}
            assert not taken.getblocking()
            socket.create_connection(taken.getsockname()).close()
        assert inherited_sockets(environ, pid=7) == []

"""A private Dovecot 2.3 on loopback ports in a folder of its own, wired to an endpoint by the files in `integrations/`.

It uses the very files an admin copies (`notifier-2.3.conf`, `notify.lua`, `quota-warning.sh`, `tag-voice.sieve`), with
nothing but addresses, folders, user and token put in their places, so that what is shipped is what is tested.
"""

from __future__ import annotations

import grp
import imaplib
import os
import pwd
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

import notifier
from tests.servers import require_binary

INTEGRATION = Path(notifier.__file__).parent / "integrations" / "dovecot"
PASSWORD = "secret"
DOMAIN = "mail.example"
USERS = (
    "alice",
    "bob",
    "carol",
    "dave",
    "erin",
    "frank",
    "gina",
    "hugo",
    "ivan",
    "judy",
    "kim",
    "lea",
    "mona",
    "nina",
    "otto",
)
CAROLS_QUOTA_KB = 40
PACKAGES = "dovecot-core dovecot-imapd dovecot-lmtpd dovecot-pop3d dovecot-sieve"
START_S = 20.0
STOP_S = 10.0
CLIENT_S = 20.0
POLL_S = 0.02
PATHS: Mapping[str, str] = {"lua": "/lua", "export": "/export", "quota": "/quota", "ox": "/ox"}
"""Who posts where below the endpoint's base: a recorder tells them apart by it."""

CONFIG = """
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
instance_name = {root}
protocols = imap lmtp pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0 secs
hostname = {domain}
default_internal_user = {internal_user}
default_internal_group = {internal_group}
default_login_user = {login_user}
first_valid_uid = 1
mail_location = maildir:~/Maildir
mail_uid = {mail_user}
mail_gid = {mail_group}
mail_attribute_dict = file:%h/dovecot-attributes
login_trusted_networks = 127.0.0.1
lmtp_save_to_detail_mailbox = yes
lda_mailbox_autocreate = yes
recipient_delimiter = +
namespace inbox {{
  inbox = yes
  separator = /
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {root}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {root}/users
}}
plugin {{
  quota = count:User quota
  quota_vsizes = yes
  sieve = ~/none.sieve
  sieve_before = {root}/notifier/tag-voice.sieve
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
mail_plugins = quota
!include {root}/notifier.conf
protocol imap {{
  imap_metadata = yes
  mail_plugins = $mail_plugins imap_quota
}}
protocol lmtp {{
  mail_plugins = $mail_plugins sieve
}}
"""

OX = """
plugin {{
  push_notification_driver2 = ox:url=http://dovecot:{token}@{host}{path} timeout_msecs=1000 max_retries=0
}}
"""


class Dovecot:
    """Started by the constructor, stopped by `stop()` or the end of `with`.

    `url` is the endpoint's base: the Lua script posts to `url/lua`, the exporter to `url/export`, the quota script to
    `url/quota`, and the ox driver, if asked for, puts to `url/ox`; or to what `paths` says instead. All have `token`,
    as Bearer or Basic password. Users are USERS @mail.example; carol may store CAROLS_QUOTA_KB.
    """

    def __init__(self, url: str, *, token: str = "token-1", ox: bool = False, paths: Mapping[str, str] = PATHS) -> None:
        self.binary = require_binary("dovecot", PACKAGES)
        self.sievec = require_binary("sievec", PACKAGES)
        _require_2_3(self.binary)
        self.url, self.token, self.paths = url, token, paths
        self.root = Path(tempfile.mkdtemp(prefix="dovecot-"))
        self.imap_port, self.pop3_port, self.lmtp_port = _free_ports(3)
        self.internal_user, self.login_user, self.mail_user = _service_users()
        self._write_files(ox)
        with (self.root / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                [self.binary, "-F", "-c", self.root / "dovecot.conf"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """Everything Dovecot has logged so far."""
        files = (self.root / "dovecot.log", self.root / "stderr")
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    @property
    def pause_file(self) -> Path:
        """Where the Lua script writes down since when it pauses."""
        return self.root / "pause" / "notifier-pause"

    def imap(self, user: str) -> imaplib.IMAP4:
        """A logged-in connection; the caller logs it out."""
        connection = imaplib.IMAP4("127.0.0.1", self.imap_port, timeout=CLIENT_S)
        connection.login(address_of(user), PASSWORD)
        return connection

    def deliver(self, to: str, message: bytes, *, sender: str = "bob.sender@else.example") -> bytes:
        """By LMTP, as an MTA would: b"" when it was taken, else the refusal's text. `to` may have a +detail."""
        with smtplib.LMTP("127.0.0.1", self.lmtp_port, local_hostname=DOMAIN, timeout=CLIENT_S) as client:
            try:
                client.sendmail(sender, [address_of(to)], message, mail_options=["BODY=8BITMIME"])
            except smtplib.SMTPResponseException as error:
                return error.smtp_error if isinstance(error.smtp_error, bytes) else error.smtp_error.encode()
            except smtplib.SMTPRecipientsRefused as error:
                return b"; ".join(reason for _, reason in error.recipients.values())
        return b""

    def stop(self) -> None:
        """Every process it started is gone afterwards, and the folder too."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            _signal_group(self._process.pid, number)
            if _wait_for(lambda: self._process.poll() is not None and not _group_lives(self._process.pid), STOP_S):
                break
        shutil.rmtree(self.root, ignore_errors=True)

    def _write_files(self, ox: bool) -> None:
        owner, group = _ids(self.mail_user)
        self.root.chmod(0o755)
        shutil.copytree(INTEGRATION, self.root / "notifier")
        for folder in ("mail", "pause"):
            (self.root / folder).mkdir()
            os.chown(self.root / folder, owner, group)
        token_file = self.root / "notifier" / "token"
        token_file.write_text(f"{self.token}\n")
        token_file.chmod(0o400)
        os.chown(token_file, owner, group)
        (self.root / "users").write_text("".join(self._account(user) for user in USERS))
        (self.root / "notifier.conf").write_text(self._shipped_config())
        (self.root / "dovecot.conf").write_text(self._config(ox))
        # Dovecot's mail user may not write beside the script, so it is compiled beforehand, as an admin would.
        script = self.root / "notifier" / "tag-voice.sieve"
        subprocess.run([self.sievec, "-c", self.root / "dovecot.conf", script], check=True, capture_output=True)

    def _account(self, user: str) -> str:
        limit = f"userdb_quota_rule=*:storage={CAROLS_QUOTA_KB}K" if user == "carol" else ""
        return f"{user}@{DOMAIN}:{{PLAIN}}{PASSWORD}::::{self.root}/mail/{user}::{limit}\n"

    def _config(self, ox: bool) -> str:
        host = self.url.removeprefix("http://")
        text = CONFIG.format(
            root=self.root,
            domain=DOMAIN,
            internal_user=self.internal_user,
            internal_group=grp.getgrgid(_ids(self.internal_user)[1]).gr_name,
            login_user=self.login_user,
            mail_user=self.mail_user,
            mail_group=grp.getgrgid(_ids(self.mail_user)[1]).gr_name,
            imap=self.imap_port,
            pop3=self.pop3_port,
            lmtp=self.lmtp_port,
        )
        return text + (OX.format(token=self.token, host=host, path=self.paths["ox"]) if ox else "")

    def _shipped_config(self) -> str:
        """`notifier-2.3.conf` with this test's addresses, folders and names."""
        text = (INTEGRATION / "notifier-2.3.conf").read_text()
        endpoint = "127.0.0.1:5423/v1/events/dovecot"
        host = self.url.removeprefix("http://")
        for line, sender in (("notifier_url = ", "lua"), ("transport_args = ", "export"), ("executable = ", "quota")):
            there = rf"\g<1>{host}{self.paths[sender]}"
            text = re.sub(rf"^(\s*{line}.*){re.escape(endpoint)}", there, text, flags=re.MULTILINE)
        text = text.replace("dovecot:TOKEN@", f"dovecot:{self.token}@")
        text = text.replace("/etc/dovecot/notifier", str(self.root / "notifier"))
        text = text.replace("/var/lib/notifier-dovecot", str(self.root / "pause"))
        return text.replace("user = vmail", f"user = {self.mail_user}")

    def _wait_until_ready(self) -> None:
        ports = (self.imap_port, self.pop3_port, self.lmtp_port)
        _wait_for(lambda: self._process.poll() is not None or all(map(_listens, ports)), START_S)
        assert all(map(_listens, ports)), f"Dovecot did not start:\n{self.log}"


def address_of(user: str) -> str:
    """`alice` is alice@mail.example; what has an @ stays as it is."""
    return user if "@" in user else f"{user}@{DOMAIN}"


def _require_2_3(binary: Path) -> None:
    """2.4 has another configuration language; `notifier-2.4.conf` is not tried here."""
    version = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout
    if not version.startswith("2.3."):
        pytest.skip(f"this fixture speaks Dovecot 2.3, and here is {version.split()[0]}")


def _service_users() -> tuple[str, str, str]:
    """Internal, login and mail user: Dovecot's own where root starts it, else whoever runs the test."""
    if os.geteuid() == 0:
        return "dovecot", "dovenull", "mail"
    me = pwd.getpwuid(os.geteuid()).pw_name
    return me, me, me


def _ids(user: str) -> tuple[int, int]:
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listening.getsockname()[1] for listening in sockets]
    for listening in sockets:
        listening.close()
    return ports


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_for(condition: Callable[[], bool], limit_s: float) -> bool:
    """Polls: what is waited for is another process, which tells nobody."""
    ends = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(POLL_S)
    return True

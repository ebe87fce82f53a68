"""A mail server or cluster that may report: whom it speaks for and how its names are read. Made by `config`."""

from __future__ import annotations

from typing import Annotated

import msgspec


class VoicemailRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a source's operator says proves a voice message. Names compare whole, in any case."""

    mailboxes: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ("VoiceMessage", "$VoiceMessage")
    trust_headers: bool = False
    """The MTA strips PBX headers from strangers' mail, so that they prove something."""


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """Mailboxes under `prefix` belong to `owner`; `%u` stands for a user's name, "" for nobody."""

    prefix: Annotated[str, msgspec.Meta(min_length=1)]
    owner: str = ""


class SourceRules(msgspec.Struct, frozen=True, kw_only=True):
    """How one source's names become people and mailboxes; everything else about a source is authentication."""

    name: str
    dialect: str = "rfc5423"
    store: str = ""
    """One mail store's name; sources that feed the same store share it. Default: the source's name."""
    domains: tuple[str, ...] = ()
    """For whom it may speak, lower case and IDNA; `("*",)` for all."""
    default_domain: str = ""
    separator: str = "/"
    user_case: str = "lower"
    """`lower` or `keep`: whether local parts are the same in any case."""
    detail_delimiter: str = "+"
    aliases: dict[str, str] = {}
    """Canonical name → canonical name, from `aliases_file`."""
    namespaces: tuple[Namespace, ...] = ()
    trusted_networks: tuple[str, ...] = ()
    """Webmail, proxies, migration hosts: sign-ins from there are never new."""
    tenant: str = ""
    everyone: bool = False
    """The tenant's people are known without a device, contact or document of their own."""
    pop3_counts_as_read: bool = True
    voicemail: VoicemailRules = VoicemailRules()

    @property
    def mail_store(self) -> str:
        return self.store or self.name

"""The lowest layer: what everybody gets who says nothing, and what nobody can switch off."""

from __future__ import annotations

from notifier.engine.document import BUILTIN as NAME
from notifier.engine.document import decode
from notifier.model.layer import Layer, QuietWish

ROWS = {
    # category           push       sms    email
    "mail.new": ("instant", "off", "digest"),
    "mail.vip": ("instant", "fallback", "off"),
    "mail.list": ("off", "off", "digest"),
    "voicemail.new": ("instant", "fallback", "instant"),
    "voicemail.urgent": ("critical", "instant", "instant"),
    "fax.new": ("instant", "off", "digest"),
    "call.missed": ("instant", "off", "digest"),
    "mailbox.shared": ("instant", "off", "digest"),
    "quota.warning": ("instant", "off", "instant"),
    "quota.exceeded": ("instant", "off", "instant"),
    "quota.ok": ("silent", "off", "off"),
    "security.login": ("instant", "off", "instant"),
}
REQUIRED = ("quota.exceeded", "security.login")
"""Their e-mail cannot be switched off: a full mailbox and a stranger's sign-in are no matter of taste."""

DOCUMENT: dict[str, object] = {
    "time_zone": "UTC",
    "locale": "en",
    "channels": {
        "push": {"state": "on", "critical": True},
        "sms": {"state": "on"},
        "email": {"state": "on"},
    },
    "categories": {
        name: {
            **dict(zip(("push", "sms", "email"), words, strict=True)),
            **({"constraint": {"email": "require"}} if name in REQUIRED else {}),
        }
        for name, words in ROWS.items()
    },
    "timing": {"grace": "20s", "active_grace": "120s"},
    "privacy": {"push": "sender", "sms": "count", "email": "subject"},
    "digest": {
        "enabled": True,
        "schedule": [{"at": "07:30"}],
        "min_items": 1,
        "max_items": 30,
        "skip_read": True,
    },
    "badge": {"mailboxes": ["INBOX"]},
}

_QUIET: dict[str, object] = {
    "windows": {"any": {}},
    "quiet": [
        {
            "window": "any",
            "channels": {"push": "hold", "sms": "hold", "email": "pass"},
            "at_end": "summary",
            "max_hold": "12h",
            "let_through": ["critical", "bypass_quiet"],
        }
    ],
}

BUILTIN = Layer(NAME, decode(DOCUMENT, layer=NAME))
QUIET: QuietWish = (decode(_QUIET, layer=NAME).quiet or {})["any"]
"""What a quiet window does where nobody said otherwise; there is none until somebody makes one."""

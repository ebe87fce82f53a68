"""Templates → texts: pure, compiled at the start, at the allowed privacy level.

    material    what callers hand over
    untrusted   what strangers wrote, made harmless
    views       what a template sees of it, by level
    speech      numbers, plurals, times, lists in the reader's language

A template is found by language first narrowed, then widened (`de-AT`, `de`, `en`), within it by category: its own, else
the one it stands under (`mail.vip` → `mail.new`, `mail.boss` → `mail.new`). `overrides` is a folder of the same layout
that an operator lays over ours; it is sandboxed, what it shows is bounded, and a template that does not compile stops
the start, not a notification. Templates are found in the installed package, else in the checkout beside it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from jinja2 import ChoiceLoader, FileSystemLoader, PrefixLoader, StrictUndefined, Template, TemplateError
from jinja2.environment import TemplateModule
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

import notifier
from notifier.errors import ConfigError, RenderError
from notifier.model.message import Rendered
from notifier.model.preference import Privacy
from notifier.render.material import DigestMaterial, Material, Notice
from notifier.render.speech import TAG, Moment, Speech, locale_of
from notifier.render.untrusted import Harmless, inert, shown, spaced
from notifier.render.views import Group, Line, NoticeLine, digest_context, material_context

__all__ = ["PAGES", "DigestMaterial", "Material", "Notice", "Renderer"]

DEFAULT_LOCALE: Final = "en"
TEXT_CHARS_MAX: Final = 256 * 1024
"""A longer text is a template's mistake."""
SIGNATURE: Final = "-- "
"""Begins the foot of a mail; mail programs know it by its space (RFC 3676 §4.3)."""
OURS: Final = frozenset({TemplateModule, Group, Line, Moment, NoticeLine})
"""Frozen values and the macros' own module: whatever has no underscore before it may be read."""
SAME_AS: Final = {"mail.vip": "mail.new"}
"""Categories that are worded like another."""

PAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "unsubscribe": ("action", "account"),
    "unsubscribed": ("undo", "account", "still", "settings"),
    "resubscribed": ("action", "account", "settings"),
    "verify": ("action", "contact"),
    "verified": ("contact", "settings"),
    "invalid": ("settings",),
}
"""Name → what it shows. `action` and `undo` are where its button POSTs, `still` the categories that come all the same,
`settings` the preference page; what is missing or "" is left out."""


class Renderer:
    """Every text the service sends or shows."""

    def __init__(self, overrides: Path | None = None) -> None:
        """Compiles all templates. Raises ConfigError naming the file and line of one that is none."""
        roots = [root for root in (overrides, templates_folder()) if root is not None]
        self._roots = roots
        self._languages = {
            folder.name: _environment(folder.name, roots)
            for root in roots
            for folder in sorted(root.iterdir())
            if folder.is_dir() and TAG.fullmatch(folder.name)
        }
        if DEFAULT_LOCALE not in self._languages:
            raise ConfigError(f"{roots[-1]}: no templates for {DEFAULT_LOCALE!r}")
        for environment in self._languages.values():
            _compile_all(environment)
        self._find = lru_cache(maxsize=4096)(self._found)
        style = str(self._languages[DEFAULT_LOCALE].globals["page_style"])
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.page_csp = f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'"
        """The Content-Security-Policy `page` needs: its own style, its own form, nothing else."""

    def push(self, category: str, material: Material) -> Rendered:
        """Title and body; both "" at privacy NONE. RenderError if a template fails."""
        if material.privacy is Privacy.NONE:
            return Rendered()
        context = material_context(category, material, shown)
        return Rendered(
            title=self._line(material.locale, category, "push.title.txt", context),
            body=self._text(material.locale, category, "push.body.txt", context),
        )

    def sms(self, category: str, material: Material) -> str:
        """One line, not yet cut to parts; "" at privacy NONE."""
        if material.privacy is Privacy.NONE:
            return ""
        return self._line(material.locale, category, "sms.txt", material_context(category, material, spaced))

    def mail(self, category: str, material: Material) -> Rendered:
        """Subject, text and html; all "" at privacy NONE."""
        if material.privacy is Privacy.NONE:
            return Rendered()

        def context(harmless: Harmless) -> dict[str, Any]:
            return material_context(category, material, harmless)

        return self._mail(material.locale, category, context(shown), context(inert))

    def digest(self, material: DigestMaterial) -> Rendered:
        """Subject, text and html, grouped by mailbox and capped at `max_items` («and 37 more»)."""
        context, body = digest_context(material, shown), digest_context(material, inert)
        return self._mail(material.locale, "digest", context, body)

    def page(self, name: str, locale: str, content: Mapping[str, object]) -> str:
        """A landing page of `PAGES` as HTML; RenderError for a name that is none."""
        if name not in PAGES:
            raise RenderError(f"no page {name!r}")
        context = {key: content.get(key, "") for key in PAGES[name]}
        return self._render(locale, "pages", f"{name}.html", context)

    def _mail(self, locale: str, category: str, head: dict[str, Any], body: dict[str, Any]) -> Rendered:
        subject = self._line(locale, category, "email.subject.txt", head)
        return Rendered(
            title=subject,
            body=self._text(locale, category, "email.text.txt", body),
            html=self._render(locale, category, "email.html", {**body, "subject": subject}),
        )

    def _line(self, locale: str, category: str, file: str, context: dict[str, Any]) -> str:
        return " ".join(self._render(locale, category, file, context).split())

    def _text(self, locale: str, category: str, file: str, context: dict[str, Any]) -> str:
        """Without the blank ends and runs of blank lines that conditions leave behind."""
        kept: list[str] = []
        for line in self._render(locale, category, file, context).strip().splitlines():
            clean = line if line == SIGNATURE else line.rstrip()
            if clean or (kept and kept[-1]):
                kept.append(clean)
        return "\n".join(kept)

    def _render(self, locale: str, category: str, file: str, context: dict[str, Any]) -> str:
        template = self._find(locale, category, file)
        try:
            text = template.render(context)
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise RenderError(f"{template.filename}: {type(error).__name__}") from error
        if len(text) > TEXT_CHARS_MAX:
            raise RenderError(f"{template.filename}: over {TEXT_CHARS_MAX} characters")
        return text

    def _found(self, locale: str, category: str, file: str) -> Template:
        """The template: for each wording of the category, the nearest language that has it."""
        languages = [tag for tag in (*_narrower(locale), DEFAULT_LOCALE) if tag in self._languages]
        for wording in _wordings(category):
            for tag in languages:
                environment = self._languages[tag]
                name = f"{wording}/{file}"
                if any((root / folder / name).is_file() for root in self._roots for folder in _narrower(tag)):
                    return environment.get_template(name)
        raise RenderError(f"no template {category}/{file}")


def templates_folder() -> Path:
    """Where our own templates are: in the installed package, else in the checkout it stands in."""
    package = Path(notifier.__file__).parent
    installed = package / "templates"
    return installed if installed.is_dir() else package.parent / "templates"


class _Environment(ImmutableSandboxedEnvironment):
    """Sandboxed, without paying again for every text: its templates' globals are plain dicts (Jinja's ChainMap costs
    half of a short text's rendering), and what is ours by its type is not searched for what could be unsafe in it."""

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        return {**self.globals, **(d or {})}

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if type(obj) in OURS:
            return not attr.startswith("_")
        return super().is_safe_attribute(obj, attr, value)

    def is_safe_callable(self, obj: Any) -> bool:
        return type(obj) is Macro or super().is_safe_callable(obj)


def _environment(tag: str, roots: list[Path]) -> ImmutableSandboxedEnvironment:
    """One language's templates: the narrow tag before the wide, an operator's before ours, then the common base."""
    own = FileSystemLoader([root / part for part in _narrower(tag) for root in roots])
    common = PrefixLoader({"_base": FileSystemLoader([root / "_base" for root in roots])})
    environment = _Environment(
        loader=ChoiceLoader([own, common]),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        auto_reload=False,
        cache_size=-1,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    speech = Speech(locale_of(tag))
    environment.globals.update(
        language=tag,
        direction=speech.direction,
        plural=speech.plural,
        number=speech.number,
        listing=speech.listing,
        counted=speech.counted,
        mail_style=_style(roots, "mail.css"),
        page_style=_style(roots, "page.css"),
    )
    return environment


def _style(roots: list[Path], name: str) -> Markup:
    """A style sheet for inlining: markup of our own or the operator's, never of a message."""
    file = next(file for root in roots if (file := root / "_base" / name).is_file())
    return Markup("\n" + file.read_text("utf-8").strip() + "\n")


def _compile_all(environment: ImmutableSandboxedEnvironment) -> None:
    for name in environment.list_templates(extensions=["txt", "html"]):
        try:
            environment.get_template(name)
        except TemplateError as error:
            where = f"{getattr(error, 'filename', None) or name}:{getattr(error, 'lineno', '?')}"
            raise ConfigError(f"{where}: {error.message}") from error


def _narrower(tag: str) -> Iterator[str]:
    """`de-AT`, then `de`; nothing for what is no tag, so that none becomes a path."""
    parts = tag.replace("_", "-").split("-") if TAG.fullmatch(tag) else []
    while parts:
        yield "-".join([parts[0].lower(), *(part.upper() if len(part) == 2 else part.title() for part in parts[1:])])
        parts.pop()


def _wordings(category: str) -> Iterator[str]:
    """Folders that may word it, the nearest first; a category of the operator's is at least a kind of mail."""
    yield category
    if category in SAME_AS:
        yield SAME_AS[category]
    elif "." in category:
        yield f"{category.partition('.')[0]}.new"
        yield "mail.new"

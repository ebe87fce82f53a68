"""Layers → `Effective`: what each wish comes to, and which layer said so.

Low to high: `builtin`, `deployment`, `user`. A missing key inherits, maps merge key by key, everything else is replaced
as a whole; quiet hours are one map by window, so windows of several layers are united. A constraint of a lower layer
beats a preference of a higher one, and the lowest constraint beats the others. Permissions and ceilings only fall.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from notifier.engine.builtin import BUILTIN, QUIET
from notifier.engine.codec import pointer
from notifier.engine.document import USER
from notifier.model.layer import (
    CategoryWish,
    ChannelWish,
    Layer,
    Passage,
    PauseWish,
    Preferences,
    PrivacyWish,
    QuietWish,
    SlotWish,
    Sparse,
    Switch,
    Through,
    WindowWish,
)
from notifier.model.preference import (
    Cell,
    Constraint,
    Digest,
    DigestRow,
    Effective,
    HoldMode,
    Medium,
    Origin,
    Pause,
    Privacy,
    Quiet,
    Word,
)
from notifier.model.recipient import Contact, ContactKind, ContactState

T = TypeVar("T")
Origins = dict[str, Origin]
Said = list[tuple[CategoryWish, Origin]]
"""What the layers say of one row of the grid, low to high."""

INBOX = "INBOX"
_HOUR_S = 3600


def resolve(layers: Sequence[Layer]) -> Effective:
    """All layers, low to high, as one; BUILTIN is always the lowest, named or not.

    `rev` is the user layer's, `layer_rev` the sum of those between. `origins` leaves out what is built in: thousands
    of these are kept, and most people change little. Never fails: what a layer names and no layer has (a category, a
    window) acts on nothing.
    """
    above = tuple(layer for layer in layers if layer.name != BUILTIN.name)
    stack = (BUILTIN, *above)
    merged = united(stack)
    origins: Origins = {}
    for layer in above:
        origins.update(dict.fromkeys(_leaves(layer.document), _origin(layer)))
    cells = _cells(stack)
    quiet = _quiet(stack, merged, origins)
    return Effective(
        time_zone=_sure(merged.time_zone),
        locale=_sure(merged.locale),
        cells=cells,
        media=frozenset(medium for medium in Medium if _channel(merged, medium).state is Switch.ON),
        critical_allowed=_critical_allowed(stack, origins),
        quiet=quiet,
        pause=_pause(merged.pause),
        grace=_sure(_sure(merged.timing).grace).value,
        active_grace=_sure(_sure(merged.timing).active_grace).value,
        **_privacy(stack, _sure(merged.privacy), origins),
        digest=_digest(merged),
        badge_mailboxes=_mailboxes(_sure(_sure(merged.badge).mailboxes)),
        rev=sum(layer.rev for layer in above if layer.name == USER),
        layer_rev=sum(layer.rev for layer in above if layer.name != USER),
        origins={**_but_cells(origins), **_cell_origins(cells)},
    )


def united(layers: Sequence[Layer]) -> Preferences:
    """What these layers say together, low to high, constraints aside: what the next one's writer may build on."""
    merged = Preferences()
    for layer in layers:
        merged = _merge(merged, layer.document)
    return merged


def digest_contact(effective: Effective, contacts: Sequence[Contact]) -> Contact | None:
    """Where the digest goes: the contact named, else the first verified address, else `self` for a user who asked.

    None: nowhere; what moves to the digest is then only in the history.
    """
    verified = [c for c in contacts if c.kind is ContactKind.EMAIL and c.state is ContactState.VERIFIED]
    own = next((contact for contact in verified if contact.is_self), None)
    others = [contact for contact in verified if not contact.is_self]
    to = effective.digest.to
    if to == "self":
        return own
    if to:
        return next((contact for contact in others if contact.id.hex() == to.lower()), None)
    asked = any(at.startswith("/digest/") and origin.layer == USER for at, origin in effective.origins.items())
    return others[0] if others else own if asked else None


def _sure(value: T | None) -> T:
    """BUILTIN says every leaf, so that nothing merged over it is missing."""
    if value is None:
        raise ValueError("the builtin layer does not say everything")
    return value


def _origin(layer: Layer) -> Origin:
    return Origin(layer.name, layer.rev)


def _merge(low: Any, high: Any) -> Any:
    """Maps key by key; of everything else the higher one, if it says anything."""
    if low is None or high is None:
        return low if high is None else high
    if isinstance(high, dict):
        return {**low, **{key: _merge(low.get(key), value) for key, value in high.items()}}
    if isinstance(high, Sparse):
        names = high.__struct_fields__
        return type(high)(**{name: _merge(getattr(low, name), getattr(high, name)) for name in names})
    return high


def _leaves(value: Any, at: str = "") -> Iterator[str]:
    """The JSON pointer of every leaf that is said; quiet hours by their window's name, not by a place in a list."""
    members: Mapping[Any, Any]
    if isinstance(value, Sparse):
        members = {name: getattr(value, name) for name in value.__struct_fields__}
    elif isinstance(value, dict):
        members = value
    else:
        yield at
        return
    for key, member in members.items():
        if member is not None:
            yield from _leaves(member, pointer(at, str(key)))


def _channel(merged: Preferences, medium: Medium) -> ChannelWish:
    channel: ChannelWish = getattr(_sure(merged.channels), medium.value)
    return channel


def _cells(stack: Sequence[Layer]) -> dict[str, dict[Medium, Cell]]:
    """The grid. Only a layer below the user's adds a category; what nobody said of it is off."""
    rows: dict[str, Said] = {}
    for layer in stack:
        for name, row in (layer.document.categories or {}).items():
            if layer.name != USER or name in rows:
                rows.setdefault(name, []).append((row, _origin(layer)))
    return {name: _BUILTIN_ROWS[name] if said == _BUILTIN_SAID.get(name) else _row(said) for name, said in rows.items()}


def _row(said: Said) -> dict[Medium, Cell]:
    return {medium: _cell(said, medium) for medium in Medium}


def _cell(rows: Said, medium: Medium) -> Cell:
    cell = Cell(word=Word.OFF, origin=_origin(BUILTIN))
    for row, origin in rows:
        word = row.word(medium)
        if word is not None and _free(cell.constraint, word, medium):
            cell = Cell(word=word, origin=origin, constraint=cell.constraint, constraint_origin=cell.constraint_origin)
        constraint = (row.constraint or {}).get(medium)
        if constraint is not None and cell.constraint is None:
            cell = _constrained(cell, constraint, origin, medium)
    return cell


def tells(word: Word, medium: Medium) -> bool:
    """Whether a cell's word ever tells the person anything: what `require` keeps true.

    `fallback` sends nothing in this release, and only a push can be silent: an SMS or a mail is sent or not.
    """
    return word not in (Word.OFF, Word.FALLBACK) and (word is not Word.SILENT or medium is Medium.PUSH)


def _free(constraint: Constraint | None, word: Word, medium: Medium) -> bool:
    if constraint is None:
        return True
    return constraint is Constraint.REQUIRE and tells(word, medium)


def _constrained(cell: Cell, constraint: Constraint, origin: Origin, medium: Medium) -> Cell:
    """The cell from this layer on: `forbid` makes it off, `require` at once where it told nothing."""
    word, said_by = cell.word, cell.origin
    if constraint is Constraint.FORBID:
        word, said_by = Word.OFF, origin
    elif not tells(word, medium):
        word, said_by = Word.INSTANT, origin
    return Cell(word=word, origin=said_by, constraint=constraint, constraint_origin=origin)


def _but_cells(origins: Origins) -> Origins:
    """A cell's origin is its own matter: a constraint may have undone what the highest layer said."""
    return {at: origin for at, origin in origins.items() if not at.startswith("/categories/")}


def _cell_origins(cells: dict[str, dict[Medium, Cell]]) -> Origins:
    return {
        pointer(pointer("/categories", name), medium.value): cell.origin
        for name, row in cells.items()
        for medium, cell in row.items()
        if cell.origin.layer != BUILTIN.name
    }


def _critical_allowed(stack: Sequence[Layer], origins: Origins) -> bool:
    """A permission: once refused, no higher layer gives it back."""
    for layer in stack:
        push = layer.document.channels and layer.document.channels.push
        if push and push.critical is False:
            origins["/channels/push/critical"] = _origin(layer)
            return False
    return True


def _privacy(stack: Sequence[Layer], wish: PrivacyWish, origins: Origins) -> dict[str, Any]:
    """Levels under the lowest ceiling of all layers below the user's, and that ceiling."""
    ceiling, by = Privacy.PREVIEW, _origin(BUILTIN)
    for layer in stack:
        said = layer.document.privacy.ceiling if layer.document.privacy and layer.name != USER else None
        if said is not None and said < ceiling:
            ceiling, by = said, _origin(layer)
    if by.layer != BUILTIN.name:
        origins["/privacy/ceiling"] = by
    levels: dict[Medium, Privacy] = {}
    for medium in Medium:
        wished: Privacy = _sure(getattr(wish, medium.value))
        levels[medium] = min(wished, ceiling)
        if wished > ceiling:
            origins[f"/privacy/{medium}"] = by
    return {"privacy": levels, "ceiling": ceiling}


def _quiet(stack: Sequence[Layer], merged: Preferences, origins: Origins) -> tuple[Quiet, ...]:
    windows = merged.windows or {}
    found: list[Quiet] = []
    for name, wish in (merged.quiet or {}).items():
        if name in windows:
            by = next(_origin(layer) for layer in reversed(stack) if name in (layer.document.quiet or {}))
            origins[pointer(pointer("/quiet", name), "window")] = by
            found.append(_quiet_hours(name, windows[name], _merge(QUIET, wish), by))
    return tuple(found)


def _quiet_hours(name: str, window: WindowWish, wish: QuietWish, origin: Origin) -> Quiet:
    channels = _sure(wish.channels)
    dates = (window.exceptions and window.exceptions.dates) or {}
    return Quiet(
        name=name,
        rows=tuple(row.row() for row in window.rrule or ()),
        exceptions={day: tuple(row.row() for row in rows) for day, rows in dates.items()},
        holds=frozenset(medium for medium in Medium if getattr(channels, medium.value) is Passage.HOLD),
        at_end=_sure(wish.at_end),
        max_hold=_sure(wish.max_hold).value,
        let_critical_through=Through.CRITICAL in _sure(wish.let_through),
        time_zone="" if window.tz in (None, "user") else str(window.tz),
        origin=origin,
    )


def _pause(wish: PauseWish | None) -> Pause | None:
    if wish is None or wish.until is None:
        return None
    return Pause(until=wish.until.at, mode=wish.mode or HoldMode.HOLD, reason=wish.reason or "")


def _digest(merged: Preferences) -> Digest:
    wish = _sure(merged.digest)
    return Digest(
        enabled=_sure(wish.enabled),
        to=wish.to or "",
        schedule=tuple(_slot(slot) for slot in _sure(wish.schedule)),
        min_items=_sure(wish.min_items),
        max_items=_sure(wish.max_items),
        skip_read=_sure(wish.skip_read),
    )


def _slot(wish: SlotWish) -> DigestRow:
    return DigestRow(
        **({} if wish.days is None else {"days": wish.days}),
        at=wish.at,
        every_hours=0 if wish.every is None else int(wish.every.value.total_seconds()) // _HOUR_S,
        minute=wish.minute or 0,
    )


def _mailboxes(names: Sequence[str]) -> tuple[str, ...]:
    """INBOX in any case is INBOX (RFC 3501 §5.1); each once."""
    return tuple(dict.fromkeys(INBOX if name.upper() == INBOX else name for name in names))


_BUILTIN_SAID: dict[str, Said] = {
    name: [(row, _origin(BUILTIN))] for name, row in (BUILTIN.document.categories or {}).items()
}
_BUILTIN_ROWS = {name: _row(said) for name, said in _BUILTIN_SAID.items()}
"""Shared by everybody who leaves them as they are."""

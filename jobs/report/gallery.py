"""From records to HTML pages that show the pictures, and on which proofs are chosen.

The pages lie in the output and name pictures relative to themselves, so they work from a folder, a copy of
it, or a bucket that is served as a web site. They load nothing from elsewhere.
"""

from __future__ import annotations

import heapq
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jobs.errors import ObjectNotFoundError, printable
from jobs.records.commit import Records
from jobs.records.segments import Entry
from jobs.report.templates import asset, load_template
from jobs.storage import keys
from jobs.storage.base import Storage

PAGE = 200
"""Pictures per page."""

MOST = 20_000
"""Pictures of each kind in a gallery: nobody inspects more, and every run writes all pages anew."""

ROOM = 2_000
"""Cards above ``MOST`` that are collected before the surplus is sorted out."""

PageKind = Literal["pictures", "proofs", "failed"]

UNSHOWN = (".tif", ".tiff", ".jxl")
"""Extensions of pictures that browsers do not show."""


@dataclass(frozen=True, slots=True)
class Card:
    """One task on a page. There are many, so values that follow from others are properties."""

    id: str
    name: str
    shown: str | None
    """Key of the picture, or of a failed render's last good one, in its own output; None: there is none."""
    width: int
    """Pixels; 0 where there is no picture."""
    height: int
    """Pixels; 0 where there is no picture."""
    steps: int
    """Optimiser steps over all sizes."""
    seconds: float
    """Seconds of rendering."""
    error: str | None = None
    """Why the task failed; None: it is done."""
    is_proof: bool = False
    promoted: str | None = None
    """Key of the full picture that a proof was promoted to; None: there is none, or this is no proof."""

    @property
    def link(self) -> str | None:
        """Key that a click opens, relative to the main output; None: there is no picture."""
        return None if self.shown is None else self._folder + self.shown

    @property
    def picture(self) -> str | None:
        """Key of the picture to show, relative to the main output; None: a browser shows none."""
        unshown = self.shown is None or self.shown.lower().endswith(UNSHOWN)
        return None if unshown else self.link

    @property
    def losses(self) -> str | None:
        """Key of the loss log, relative to the main output; None for a failed task."""
        return None if self.error else self._folder + keys.losses(self.id)

    @property
    def record(self) -> str:
        """Key of the record, relative to the main output."""
        return self._folder + keys.record(self.id)

    @property
    def _folder(self) -> str:
        return f"{keys.PROOFS}/" if self.is_proof else ""


@dataclass(frozen=True, slots=True)
class Section:
    """All cards of one kind."""

    kind: PageKind
    total: int
    """Tasks of this kind, including those that are not shown."""
    cards: Sequence[Card]
    """The first ``MOST`` by name."""

    @property
    def pages(self) -> int:
        """Number of pages, at least 1."""
        return max(1, -(-len(self.cards) // PAGE))


def write_gallery(storage: Storage, proofs: Storage) -> str:
    """Write the gallery of an output, and delete earlier pages that it no longer has.

    Args:
        storage: The output.
        proofs: The output of its proofs; it may be empty.

    Returns:
        The key of the first page.

    Raises:
        StorageError: Records cannot be read, or pages not written.
    """
    # Listed first: what a run adds meanwhile is not in the pages yet.
    places = ((storage, keys.GALLERY), (proofs, keys.FRESH))
    before = [(place, old.key) for place, prefix in places for old in place.list(prefix)]
    written = _write_pages(storage, proofs)
    for place, key in before:
        if place is proofs or key not in written:
            place.delete(key)
    return keys.INDEX


def begin_gallery(storage: Storage, proofs: Storage) -> None:
    """Write the gallery of an output that has none, so that there is a page to open while it is rendered.

    Args:
        storage: The output.
        proofs: The output of its proofs.

    Raises:
        StorageError: As ``write_gallery``.
    """
    if storage.stat(keys.INDEX) is None:
        _write_pages(storage, proofs)


def _write_pages(storage: Storage, proofs: Storage) -> set[str]:
    """Write all pages, and return the keys in ``gallery/`` that belong to them."""
    # Files of their own, so that a server can forbid every script in a page.
    written = {keys.GALLERY_STYLE, keys.GALLERY_SCRIPT, keys.LIVE_SCRIPT}
    storage.put(keys.GALLERY_STYLE, asset("gallery.css"), content_type="text/css; charset=utf-8")
    storage.put(keys.GALLERY_SCRIPT, asset("gallery.js"), content_type="text/javascript")
    entries, small = Records(storage).entries(), Records(proofs).entries()
    for key, page in gallery_pages(_title(storage, proofs), storage.url, entries, small):
        storage.put(key, page.encode("utf-8", "replace"), content_type="text/html; charset=utf-8")
        written.add(key)
    return written


def gallery_pages(
    title: str, output: str, pictures: Iterable[Entry], proofs: Iterable[Entry]
) -> Iterator[tuple[str, str]]:
    """Yield (key, HTML) of every page; the first page comes twice, once as index.html.

    Args:
        title: The job's name.
        output: Its address, as people know it.
        pictures: Entries of the output.
        proofs: Entries of its proofs.
    """
    sections = [section for section in _sections(pictures, proofs) if section.total]
    sections = sections or [Section("pictures", 0, ())]
    for section in sections:
        for number in range(1, section.pages + 1):
            cards = section.cards[(number - 1) * PAGE : number * PAGE]
            about = {
                "title": printable(title),
                "output": printable(output),
                "quoted": shlex.quote(printable(output)),
                "sections": sections,
                "section": section,
                "number": number,
                "cards": cards,
                "page": keys.page,
                "style": keys.GALLERY_STYLE,
                "script": keys.GALLERY_SCRIPT,
            }
            template = load_template("gallery.html.j2")
            if section is sections[0] and number == 1:
                yield keys.INDEX, template.render(about, root="")
            yield keys.page(section.kind, number), template.render(about, root="../")


def _sections(pictures: Iterable[Entry], proofs: Iterable[Entry]) -> Sequence[Section]:
    failed = _First()
    small = _First()
    for entry in proofs:
        (failed if entry.status == "failed" else small).add(_card(entry, is_proof=True))
    promoted: dict[str, str | None] = dict.fromkeys(card.id for card in small.cards())
    large = _First()
    for entry in pictures:
        if entry.status == "failed":
            failed.add(_card(entry))
            continue
        large.add(_card(entry))
        if entry.id in promoted:
            promoted[entry.id] = entry.output
    return (
        large.section("pictures"),
        small.section("proofs", promoted),
        failed.section("failed"),
    )


class _First:
    """Collects cards, and keeps the first ``MOST`` by name."""

    def __init__(self) -> None:
        self._total = 0
        self._kept: list[Card] = []
        self._last: tuple[str, str] | None = None
        """The name and id of the last card that is known to be among the first; None: not known yet."""

    def add(self, card: Card) -> None:
        """Count a card, and keep it while it may be among the first."""
        self._total += 1
        if self._last is not None and _order(card) > self._last:
            return
        self._kept.append(card)
        if len(self._kept) >= MOST + ROOM:
            self._kept = self.cards()
            self._last = _order(self._kept[-1])

    def cards(self) -> list[Card]:
        """Return the first ``MOST`` cards in the order of their names."""
        return heapq.nsmallest(MOST, self._kept, key=_order)

    def section(self, kind: PageKind, promoted: dict[str, str | None] | None = None) -> Section:
        """Return the section of these cards; ``promoted`` has the full picture's key by the proof's id."""
        cards = self.cards()
        if promoted is not None:
            cards = [_promoted(card, promoted[card.id]) for card in cards]
        return Section(kind, self._total, cards)


def _order(card: Card) -> tuple[str, str]:
    return card.name, card.id


def _promoted(card: Card, picture: str | None) -> Card:
    return replace(card, promoted=picture)


def _card(entry: Entry, *, is_proof: bool = False) -> Card:
    return Card(
        id=entry.id,
        name=printable(entry.name),
        shown=entry.output if entry.kept is None else json.loads(entry.kept)["key"],
        width=entry.width,
        height=entry.height,
        steps=entry.steps,
        seconds=entry.render_seconds,
        error=printable(entry.error or "no reason recorded") if entry.status == "failed" else None,
        is_proof=is_proof,
    )


def _title(*storages: Storage) -> str:
    """Return the job's name, from the first of its outputs that has it."""
    for storage in storages:
        try:
            return str(json.loads(storage.get(keys.JOB))["job"]["name"])
        except (ObjectNotFoundError, ValueError, TypeError, KeyError):
            continue
    return "stylefarm"

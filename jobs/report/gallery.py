"""Records -> pages to look at the pictures with, and to choose among proofs.

The pages lie in the output and name pictures relative to themselves, so they work from a folder, a copy of it
or a bucket that is served as a web site. Nothing in them comes from elsewhere.
"""

from __future__ import annotations

import heapq
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from jobs.errors import ObjectNotFoundError, printable
from jobs.records.commit import Records
from jobs.records.segments import Entry
from jobs.storage import keys
from jobs.storage.base import Storage

if TYPE_CHECKING:
    from jinja2 import Template

PAGE = 200
"""Pictures on a page."""

MOST = 20_000
"""Pictures in a gallery of each kind: more looks nobody at, and every run writes the pages anew."""

ROOM = 2_000
"""Beyond these, that are kept until they are sorted out."""

PageKind = Literal["pictures", "proofs", "failed"]

UNSHOWN = (".tif", ".tiff")
"""What browsers show no pictures of."""


@dataclass(frozen=True, slots=True)
class Card:
    """One task on a page. There are many, so what follows from the rest is not kept. Keys are those in the
    output."""

    id: str
    name: str
    shown: str | None
    """The picture's key, or that of a failed render's last good one, in the output that it belongs to."""
    width: int
    height: int
    steps: int
    seconds: float
    error: str | None = None
    """Of one that failed."""
    is_proof: bool = False
    promoted: str | None = None
    """Of a proof: the picture that it was promoted to."""

    @property
    def link(self) -> str | None:
        """What a click opens."""
        return None if self.shown is None else self._folder + self.shown

    @property
    def picture(self) -> str | None:
        """What is shown."""
        unshown = self.shown is None or self.shown.lower().endswith(UNSHOWN)
        return None if unshown else self.link

    @property
    def losses(self) -> str | None:
        """Its loss log."""
        return None if self.error else self._folder + keys.losses(self.id)

    @property
    def record(self) -> str:
        """Its record."""
        return self._folder + keys.record(self.id)

    @property
    def _folder(self) -> str:
        return f"{keys.PROOFS}/" if self.is_proof else ""


@dataclass(frozen=True, slots=True)
class Section:
    """All cards of a kind that are shown, and how many there are in all."""

    kind: PageKind
    total: int
    cards: Sequence[Card]

    @property
    def pages(self) -> int:
        return max(1, -(-len(self.cards) // PAGE))


def write_gallery(storage: Storage, proofs: Storage) -> str:
    """Write the pages of an output, whose proofs are in ``proofs``; the key of the first. Pages that were
    there before and are not needed any more go. Raises StorageError."""
    written = set()
    entries, small = Records(storage).entries(), Records(proofs).entries()
    for key, page in gallery_pages(_title(storage, proofs), storage.url, entries, small):
        storage.put(key, page.encode("utf-8", "replace"), content_type="text/html; charset=utf-8")
        written.add(key)
    for found in list(storage.list(keys.GALLERY)):
        if found.key not in written:
            storage.delete(found.key)
    return keys.INDEX


def gallery_pages(
    title: str, output: str, pictures: Iterable[Entry], proofs: Iterable[Entry]
) -> Iterator[tuple[str, str]]:
    """(key, HTML) of every page; the first of them twice, as index.html, too."""
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
            }
            template = _template()
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
    """The first cards by name of however many there are."""

    def __init__(self) -> None:
        self._total = 0
        self._kept: list[Card] = []
        self._last: tuple[str, str] | None = None
        """After this one none is among the first."""

    def add(self, card: Card) -> None:
        """Count one, and keep it for now."""
        self._total += 1
        if self._last is not None and _order(card) > self._last:
            return
        self._kept.append(card)
        if len(self._kept) >= MOST + ROOM:
            self._kept = self.cards()
            self._last = _order(self._kept[-1])

    def cards(self) -> list[Card]:
        """In the order of their names."""
        return heapq.nsmallest(MOST, self._kept, key=_order)

    def section(self, kind: PageKind, promoted: dict[str, str | None] | None = None) -> Section:
        """Those that are shown."""
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
    """The job's name, as one of its outputs knows it."""
    for storage in storages:
        try:
            return str(json.loads(storage.get(keys.JOB))["job"]["name"])
        except (ObjectNotFoundError, ValueError, TypeError, KeyError):
            continue
    return "stylefarm"


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("jobs.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["link"] = lambda key: quote(str(key), safe="/")
    return environment.get_template("gallery.html.j2")

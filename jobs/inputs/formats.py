"""Which files are pictures, by their names; and pictures of formats that are not read."""

from __future__ import annotations

from pathlib import PurePath

from jobs.errors import InputError
from jobs.inputs.addresses import display, is_web
from jobs.inputs.archives.archive import ENDINGS, MARK, PACKED, check_archive
from jobs.spec.films.film import is_film
from stylize.pictures.reading.formats import KNOWN_ELSEWHERE, READ

UNREAD_SHOWN = 5
"""Pictures of unread formats that a sentence names."""

ARCHIVE = "an archive, whose pictures are used where it is named itself"

PACKED_ARCHIVE = "an archive that is packed as a whole"

_NOT_READ = {
    **KNOWN_ELSEWHERE,
    **dict.fromkeys(ENDINGS, ARCHIVE),
    **{name[name.rfind(".") :]: PACKED_ARCHIVE for name in PACKED},
}

UNREAD_NAMED = 10_000
"""Pictures of unread formats that are remembered by name."""


def is_picture(name: str) -> bool:
    """Return whether a name has a picture's extension. Only decoding shows whether it is a picture."""
    return PurePath(name).suffix.lower() in READ


def check_format(uri: str) -> None:
    """Raise InputError for an address that, by its extension, is no picture that is read."""
    if MARK in uri:
        check_archive(uri)
    elif is_film(uri) and not is_web(uri):
        raise InputError(
            f"{uri} is a film: name it under film:, or one of its frames, as {uri}{MARK}000001"
        )
    kind = format_unread(uri)
    if kind == ARCHIVE and MARK in uri:
        raise InputError(
            f"{uri} is an archive in an archive, where nothing is looked for: unpack the outer one"
        )
    if kind == ARCHIVE:
        raise InputError(f"{uri} is an archive: name a picture in it, as {uri}{MARK}a.jpg")
    if kind == PACKED_ARCHIVE:
        check_archive(uri)
    if kind is not None:
        raise InputError(f"{display(uri)} is {kind}, which is not read: convert it to PNG or TIFF")


def format_unread(uri: str) -> str | None:
    """Return the format of a picture, by the extension of its address, if it is one that is not read."""
    # Called for every row of a manifest, of which most are of formats that are read.
    kind = _NOT_READ.get(uri[uri.rfind(".") :].lower())
    if kind is None or is_web(uri):
        return None
    if kind == PACKED_ARCHIVE and not uri.lower().endswith(PACKED):
        return None  # notes.gz
    return kind


class Unread:
    """Files that patterns match and that are left out, because their format is not read."""

    def __init__(self) -> None:
        self.count = 0
        """Their number, each as often as a pattern matched it."""
        self.first: list[str] = []
        """The first of them, with their format: "sky.jxl (JPEG XL)"."""

    def is_picture(self, name: str) -> bool:
        """Return what the function ``is_picture`` does, and note a picture that it is false for."""
        if is_picture(name):
            return True
        kind = format_unread(name)
        if kind is not None:
            self.note(name, kind)
        return False

    def note(self, name: str, kind: str) -> None:
        """Note a file that is left out; hidden ones are no files that anybody means."""
        if PurePath(name).name.startswith((".", "_")):
            return
        self.count += 1
        if len(self.first) < UNREAD_NAMED:
            self.first.append(f"{name} ({kind})")

    @property
    def are_archives(self) -> bool:
        """Whether all of them can be used as archives."""
        return bool(self.first) and all(one.endswith(f"({ARCHIVE})") for one in self.first)

    def __str__(self) -> str:
        shown = self.first[:UNREAD_SHOWN]
        more = self.count - len(shown)
        return ", ".join(shown) + (f" and {more:,} more" if more else "")

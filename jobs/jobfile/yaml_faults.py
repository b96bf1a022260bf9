"""What is wrong with a text that is no YAML, in the words of someone who writes a job file.

libyaml says where it stopped and what it would have taken there. Its users made one of a few mistakes, which
the lines around that place show: a tab, a missing space, a ``*.jpg`` without quotes.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

BREAKS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""Where YAML ends a line."""

_SECOND_COLON = "mapping values are not allowed in this context"

_SIGNS = ("while scanning an alias", "while scanning an anchor", "while scanning a block scalar")
"""What YAML reads where a value begins with ``*``, ``&``, and ``|`` or ``>``."""

_NO_SPACE = re.compile(r"\s*(?:- +)?([A-Za-z_]+):(?![\s/])(?=\S)(.*)")
"""A key whose colon is followed by its value at once; a URL is none."""


class Fault(NamedTuple):
    """An error of libyaml."""

    problem: str
    """What it has met, in its words."""
    context: str
    """What it was reading, in its words; empty: it does not say."""
    at: tuple[int, int]
    """Where it has met that: line and column, from 0."""
    since: tuple[int, int]
    """Where what it was reading begins; the same place where it does not say."""


class _Place(NamedTuple):
    """A place in the text."""

    lines: list[str]
    row: int
    column: int

    @property
    def line(self) -> str:
        """Its line."""
        return self.lines[self.row]

    @property
    def before(self) -> str:
        """What its line has before it."""
        return self.line[: self.column]

    @property
    def char(self) -> str:
        """The character there; empty: the line ends."""
        return self.line[self.column : self.column + 1]


def not_utf_8(data: bytes, start: int) -> tuple[str, int | None]:
    """Return the sentence about bytes that are no UTF-8 from ``start`` on, and the line that it is about."""
    for encoding, mark in (("UTF-32", codecs.BOM_UTF32_LE), ("UTF-16", codecs.BOM_UTF16_LE)):
        if data.startswith((mark, mark[::-1])):
            return f"is {encoding} text: save it as UTF-8", None
    if b"\0" in data[:1000]:
        return "is not text: a job file is YAML, saved as UTF-8", None
    line = data[:start].count(b"\n") + 1
    return "is not UTF-8 text: save the file as UTF-8, not in a code page such as Latin-1", line


def bad_character(text: str, start: int, character: str) -> tuple[str, int | None]:
    """Return the sentence about a character that no text has, and its line.

    Args:
        text: The job file.
        start: Where the character is, in bytes of UTF-8, as libyaml counts.
        character: The character.
    """
    if character == "\0":
        return "is not text: a job file is YAML, saved as UTF-8", None
    before = text.encode("utf-8", "surrogatepass")[:start].decode("utf-8", "replace")
    name = f"U+{ord(character):04X}"
    sentence = f"has the character {name}, which no text has: remove it, and save the file as UTF-8"
    return sentence, len(BREAKS.split(before))


def explain(fault: Fault, text: str) -> tuple[str, int]:
    """Return what an error of libyaml means: the rest of the sentence, and its line, from 1.

    Args:
        fault: The error.
        text: The job file.
    """
    lines = BREAKS.split(text)
    here, there = _place(lines, *fault.at), _place(lines, *fault.since)
    row, sentence = (
        _tab(here)
        or _other_document(fault, here)
        or _no_space(fault, here, there)
        or _no_quotes(fault, here, there)
        or _not_closed(fault, here, there)
        or _wrong_column(fault, here)
        or (here.row, f"is not valid YAML: {fault.problem or fault.context}")
    )
    return sentence, row + 1


def _place(lines: list[str], row: int, column: int) -> _Place:
    last = max(0, len(lines) - 1 - (not lines[-1]))
    if row > last:  # libyaml says that a file ends on the line after its last
        row, column = last, len(lines[last])
    return _Place(lines, row, column)


def _tab(here: _Place) -> tuple[int, str] | None:
    if here.char == "\t" or "\t" in here.before[: len(here.line) - len(here.line.lstrip())]:
        return here.row, "has a tab, and YAML is indented by spaces alone: write spaces instead"
    return None


def _other_document(fault: Fault, here: _Place) -> tuple[int, str] | None:
    if fault.context == "expected a single document in the stream":
        return here.row, (
            "begins a second document with ---, and a job file is one: leave the line out, or put what "
            "follows into a file of its own"
        )
    if fault.problem == "did not find expected <document start>":
        return here.row, "has more after the end of the job's mapping: a job file is one mapping"
    return None


def _no_space(fault: Fault, here: _Place, there: _Place) -> tuple[int, str] | None:
    """Return the line of a key without a space after its colon, or without a colon."""
    if fault.problem == "could not find expected ':'":
        row = there.row
    elif fault.problem == _SECOND_COLON and ": " not in here.before:
        # YAML has read the line above and this one as one text.
        row = next((k for k in range(here.row - 1, -1, -1) if here.lines[k].strip()), here.row)
    else:
        return None
    if found := _NO_SPACE.fullmatch(here.lines[row]):
        return row, f"lacks a space after the colon: write {_shown(f'{found[1]}: {found[2]}')}"
    if ":" in here.lines[row] and fault.problem == _SECOND_COLON:
        return here.row, (
            "is indented below a line that has a value already: begin keys that belong together in one column"
        )
    return row, (
        f"has {_quoted(here.lines[row].strip())}, which is neither a key with a colon, as in name: harbour, "
        "nor an item of a list, as in - wave.jpg"
    )


def _no_quotes(fault: Fault, here: _Place, there: _Place) -> tuple[int, str] | None:
    """Return the line of a value that YAML takes for something else, because of its first character."""
    start: int | None = None
    if fault.context in _SIGNS:
        here, start = there, there.column
    elif fault.problem == "found undefined alias":
        name = re.split(r"[\s,\]}]", here.line[here.column + 1 :], maxsplit=1)[0]
        return here.row, (
            f"has *{name}, which stands for what &{name} names above, and there is no such name: a pattern "
            "that begins with * must be in quotes"
        )
    elif fault.problem == "found character that cannot start any token" and here.char:
        start = here.column
    elif fault.problem == _SECOND_COLON:
        key = re.match(r"\s*(?:- +)*[^:]*: +(?=\S)", here.before)
        start = key.end() if key else None
    elif here.before.rstrip()[-1:] in ("}", "]") and here.char not in ("", ","):
        start = _opening(here.before.rstrip())
    elif here.before.rstrip()[-1:] in ("'", '"') and here.char not in ("", ","):
        return here.row, (
            f"has {_shown(here.line[here.column :].strip())} after the end of a text in quotes: put all of "
            "it into quotes, of the other kind where it has one of them"
        )
    if start is None:
        return None
    value = re.split(r"\s#", here.line[start:], maxsplit=1)[0].strip()
    opened = [here.line[:start].count(bracket) for bracket in "{}[]"]
    if opened[0] > opened[1] or opened[2] > opened[3]:
        value = value.split(",")[0].rstrip(" ]}")
    if fault.problem == _SECOND_COLON:
        return here.row, f"has a second colon: write the value in quotes, {_quoted(value)}"
    return here.row, (
        f"has a value that begins with {value[:1]}, which means something else in YAML: write it in quotes, "
        f"{_quoted(value)}"
    )


def _not_closed(fault: Fault, here: _Place, there: _Place) -> tuple[int, str] | None:
    """Return the line on which a quote or a bracket was opened that is not closed."""
    if fault.context == "while parsing a quoted scalar":
        return here.row, (
            "has a backslash in double quotes, where it begins an escape: write / instead, or use single "
            "quotes"
        )
    if fault.context == "while scanning a quoted scalar":
        return there.row, f"has a quote, {there.char}, that is not closed"
    if fault.problem == "did not find expected node content":
        if here.char:
            return (
                here.row,
                f"has {here.char} where a value is due: a text that begins so must be in quotes",
            )
        return here.row, "ends before a list or mapping that was opened by [ or { is closed"
    if fault.context in ("while parsing a flow sequence", "while parsing a flow mapping"):
        return here.row, (
            f"does not continue the list or mapping that begins with {there.char} on line {there.row + 1}: "
            "close it, or write the comma that is missing"
        )
    return None


def _wrong_column(fault: Fault, here: _Place) -> tuple[int, str] | None:
    if fault.problem == "block sequence entries are not allowed in this context":
        return here.row, "begins a list on the line of its key: begin it on the next line"
    blocks = ("while parsing a block mapping", "while parsing a block collection")
    if fault.context in blocks and here.column > 0 and not here.before.strip():
        return here.row, (
            "begins in a column in which no line above it begins: indent it like the lines that it belongs to"
        )
    return None


def _opening(text: str) -> int | None:
    """Return the index of the bracket that the last character of ``text`` closes."""
    depth = 0
    for k in range(len(text) - 1, -1, -1):
        depth += (text[k] in "}]") - (text[k] in "{[")
        if depth == 0:
            return k
    return None


def _quoted(text: str) -> str:
    return "'" + _shown(text).replace("'", "''") + "'"


def _shown(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."

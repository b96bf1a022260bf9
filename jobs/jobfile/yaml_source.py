"""From YAML to plain values, and the line of each.

The file is read in three passes, each safe on any bytes: events (size, depth), nodes (aliases), values
(duplicate keys). Only strings, numbers, booleans, nulls, lists and mappings are constructed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from jobs.errors import JobFileError, Problem
from jobs.jobfile.yaml_faults import Fault, bad_character, explain, not_utf_8

BYTE_LIMIT = 10_000_000
DEPTH_LIMIT = 50
"""Nested lists and mappings."""

VALUE_LIMIT = 1_000_000
"""Values of a file with its aliases written out."""

LONGEST_INTEGER = 30
"""Characters. A longer integer stays text, and is refused where a number is required."""

_TAGS = {
    yaml.ScalarNode: ("str", "null", "bool", "int", "float", "merge"),
    yaml.SequenceNode: ("seq",),
    yaml.MappingNode: ("map",),
}

FieldPath = tuple[str | int, ...]
"""The path of a field: ``("pairs", 0, "recipe")``."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML with YAML 1.2's scalars: ``no`` is a word, 010 is ten, 1e6 a number, a date a string."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first
    )


@dataclass(frozen=True)
class Source:
    """A YAML file that was read: its values, its problems so far, and the line of every field."""

    file: str
    """The file's name in problems."""
    root: yaml.Node | None
    """The nodes, which know their lines; None: no line is known."""
    values: Any
    """Plain values: strings, numbers, booleans, None, lists and dicts."""
    problems: tuple[Problem, ...] = ()
    """Duplicate keys, and values that are not plain."""

    def problem(self, path: FieldPath, message: str) -> Problem:
        """Return a problem at a field, with the line of the deepest part of it that the file has."""
        return Problem(self.file, self.line(path), field_name(self._as_written(path)), message)

    def _as_written(self, path: FieldPath) -> FieldPath:
        """Return ``path`` without the indices of lists that the file writes as a single item."""
        node, written = self.root, []
        for part in path:
            if (
                isinstance(part, int)
                and node is not None
                and not isinstance(node, yaml.SequenceNode)
            ):
                continue
            written.append(part)
            step = _child(node, part) if node is not None else None
            node = step[1] if step else None
        return tuple(written)

    def written(self, path: FieldPath) -> str | None:
        """Return the text of a scalar as the file has it, such as 007; None where the file has none there."""
        node = self.root
        for part in path:
            if isinstance(part, int) and isinstance(node, yaml.ScalarNode):
                continue  # a list that the file writes as a single item
            step = None if node is None else _child(node, part)
            if step is None:
                return None
            node = step[1]
        return node.value if isinstance(node, yaml.ScalarNode) else None

    def line(self, path: FieldPath) -> int | None:
        """Return the line, from 1, of the deepest part of ``path`` that the file has; None without nodes."""
        node = self.root
        if node is None:
            return None
        line = node.start_mark.line + 1
        for part in self._as_written(path):
            step = _child(node, part)
            if step is None:
                break
            line, node = step
        return int(line)


def field_name(path: Iterable[str | int]) -> str:
    """Return a path as text: ``("pairs", 0, "recipe")`` -> ``pairs[0].recipe``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _child(node: yaml.Node, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        value = node.value[part]
        return value.start_mark.line + 1, value
    return None


def read_yaml(data: bytes, file: str) -> Source:
    """Read the bytes of a YAML file.

    Args:
        data: UTF-8 encoded, with or without a byte order mark; any bytes are safe.
        file: The file's name in problems.

    Returns:
        The values, with the problems that leave the others readable.

    Raises:
        JobFileError: No values can be read: the file is empty, above a limit, not UTF-8 or not YAML.
    """

    def refuse(message: str, line: int | None = None) -> JobFileError:
        return JobFileError([Problem(file, line, "", message)])

    if len(data) > BYTE_LIMIT:
        raise refuse(
            f"is larger than {BYTE_LIMIT // 1_000_000} MB; name pictures by glob or folder instead of "
            "one by one"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(*not_utf_8(data, error.start)) from error
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > DEPTH_LIMIT:
                raise refuse(f"nests deeper than {DEPTH_LIMIT} levels")
        root = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        code = error.character
        found = chr(code) if isinstance(code, int) else code.decode("latin-1")[:1]
        raise refuse(*bad_character(text, error.position, found)) from error
    except yaml.MarkedYAMLError as error:
        raise refuse(*explain(_fault_of(error), text)) from error
    except (yaml.YAMLError, ValueError) as error:
        raise refuse(f"is not valid YAML: {str(error).splitlines()[0]}") from error
    if root is None:
        raise refuse("is empty; `stylefarm init DIR` writes one to start from")
    values_meant, depth_meant = _extent(root)
    if values_meant > VALUE_LIMIT or depth_meant > DEPTH_LIMIT:
        raise refuse(
            f"expands to more than {VALUE_LIMIT:,} values, or {DEPTH_LIMIT} levels, through aliases "
            "(*name); write fewer"
        )
    problems: list[Problem] = []
    values = _Values(file, problems).of(root, ())
    return Source(file, root, values, tuple(problems))


def _fault_of(error: yaml.MarkedYAMLError) -> Fault:
    marks = [mark for mark in (error.problem_mark, error.context_mark) if mark is not None]
    places = [(mark.line, mark.column) for mark in marks] or [(0, 0)]
    return Fault(error.problem or "", error.context or "", places[0], places[-1])


def _extent(root: yaml.Node) -> tuple[int, int]:
    """Return the number of values in a file with all aliases written out, and their depth.

    Both saturate just above their limits; a node that contains itself counts as that.
    """
    endless = (VALUE_LIMIT + 1, DEPTH_LIMIT + 1)
    extents: dict[int, tuple[int, int]] = {}

    def extent(node: yaml.Node) -> tuple[int, int]:
        if id(node) in extents:
            return extents[id(node)]
        extents[id(node)] = endless  # for the node when it is met inside itself
        below: list[tuple[int, int]] = []
        if isinstance(node, yaml.MappingNode):
            below = [extent(part) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            below = [extent(item) for item in node.value]
        size = 1 + sum(part[0] for part in below)
        depth = 1 + max((part[1] for part in below), default=0)
        extents[id(node)] = min(size, endless[0]), min(depth, endless[1])
        return extents[id(node)]

    try:
        return extent(root)
    except RecursionError:  # a chain of a thousand aliases
        return endless


class _Values:
    """Turns nodes into plain values, and notes duplicate keys and values that are not plain."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self._file = file
        self._problems = problems

    def of(self, node: yaml.Node, path: FieldPath) -> Any:
        """Return the value of the node at ``path``."""
        plain = node.tag.startswith("tag:yaml.org,2002:")
        if not plain or node.tag.rpartition(":")[2] not in _TAGS[type(node)]:
            quotes = f": as text, write it in quotes, '{node.tag}'" if node.tag[:1] == "!" else ""
            self._note(node, path, f"the tag {node.tag} is not used in job files{quotes}")
            if quotes and not node.value:
                return node.tag
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.of(item, (*path, k)) for k, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: FieldPath) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first_line: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                for source in self._merge_sources(value_node, path):
                    merged = {**self._mapping(source, path), **merged}
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self._note(key_node, path, "a key must be a word, not a list or a mapping")
                continue
            key = key_node.value
            if key in own:
                self._note(
                    key_node,
                    (*path, key),
                    f"is given twice; the first is on line {first_line[key]}",
                )
                continue
            first_line[key] = key_node.start_mark.line + 1
            own[key] = self.of(value_node, (*path, key))
        return {**merged, **own}

    def _merge_sources(self, node: yaml.Node, path: FieldPath) -> Iterator[yaml.MappingNode]:
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(item, yaml.MappingNode):
                yield item
            else:
                self._note(item, path, "<< takes a mapping, or a list of mappings")

    def _scalar(self, node: yaml.Node, path: FieldPath) -> Any:
        try:
            return _value_of(node.tag, node.value)
        except ValueError:  # an explicit !!int before something else
            self._note(node, path, f"{node.value[:40]} is not a number")
        return node.value

    def _note(self, node: yaml.Node, path: FieldPath, message: str) -> None:
        line = node.start_mark.line + 1
        self._problems.append(Problem(self._file, line, field_name(path), message))


def read_word(text: str) -> Any:
    """Return the value of a word without quotes, as a job file reads it: .5 is a number, no is text."""
    for tag, pattern in _Loader.yaml_implicit_resolvers.get(text[:1], ()):
        if pattern.match(text):
            return _value_of(tag, text)
    return text


def _value_of(tag: str, text: str) -> Any:
    """Return the value of a scalar with a tag. Raises ValueError for what is no number and should be one."""
    kind = tag.removeprefix("tag:yaml.org,2002:")
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int" and len(text) <= LONGEST_INTEGER:
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if kind == "float":
        return float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text.lower()))
    return text

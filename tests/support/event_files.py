"""An event file as TensorBoard reads it: each record with its checksums, each scalar with its step."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any


def crc32c(data: bytes) -> int:
    """CRC-32C, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def records(data: bytes) -> Iterator[bytes]:
    """The records of an event file; both checksums of each are right."""

    def check(part: bytes, written: bytes) -> None:
        crc = crc32c(part)
        masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        assert struct.unpack("<I", written) == (masked,)

    while data:
        length = struct.unpack("<Q", data[:8])[0]
        check(data[:8], data[8:12])
        yield data[12 : 12 + length]
        check(data[12 : 12 + length], data[12 + length : 16 + length])
        data = data[16 + length :]


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message of protobuf, by number."""

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            value |= (message[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if message[at - 1] < 0x80:
                return value, at

    at = 0
    while at < len(message):
        key, at = varint(at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = varint(at)
            yield number, value
        elif kind == 2:
            length, at = varint(at)
            yield number, message[at : at + length]
            at += length
        else:
            size, form = (8, "<d") if kind == 1 else (4, "<f")
            yield number, struct.unpack(form, message[at : at + size])[0]
            at += size


def scalars(data: bytes) -> dict[str, list[tuple[int, float, float]]]:
    """(step, value, seconds since the epoch) of every scalar, by its tag."""
    first, *events = map(dict, map(fields, records(data)))
    assert first[3] == b"brain.Event:2"
    found: dict[str, list[tuple[int, float, float]]] = {}
    for event in events:
        for _, scalar in fields(event[5]):
            parts = dict(fields(scalar))
            found.setdefault(parts[1].decode(), []).append((event[2], parts[2], event[1]))
    return found

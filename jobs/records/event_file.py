"""``event_file``: the rows of a loss log as an event file, which TensorBoard reads.

The format is small and has not changed for years, so it is written here: TensorBoard itself would be a heavy
thing to install on every worker, and tensorboardX loads torch wherever it is installed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from jobs.records.loss_log import LossRow

CONTENT_TYPE = "application/octet-stream"

_POLYNOMIAL = 0x82F63B78
"""Of CRC-32C (Castagnoli), reversed."""


def event_file(rows: Sequence[LossRow], style_layers: Sequence[str], finished: float) -> bytes:
    """Return an event file with a scalar for each term and layer of each row.

    Args:
        rows: Rows of one task's log, in order.
        style_layers: The names of the rows' style layers.
        finished: When the last row was made, in seconds since the epoch.

    Source: tensorflow/core/util/event.proto and tensorflow/core/lib/io/record_writer.h.
    """
    began = finished - (rows[-1].seconds if rows else 0.0)
    version = _bytes(3, b"brain.Event:2")
    events = [_record(_double(1, began) + version)]
    for row in rows:
        terms = {"total": row.total, "content": row.content, "style": row.style, "tv": row.tv}
        scalars = [(f"loss/{term}", value) for term, value in terms.items()]
        layers = zip(style_layers, row.style_layers, strict=True)
        scalars += [(f"style/{layer}", value) for layer, value in layers]
        head = _double(1, began + row.seconds) + b"\x10" + _varint(row.step)
        events.append(_record(head + _bytes(5, _summary(scalars))))
    return b"".join(events)


def _summary(scalars: Iterable[tuple[str, float]]) -> bytes:
    return b"".join(
        _bytes(1, _bytes(1, tag.encode()) + b"\x15" + struct.pack("<f", value))
        for tag, value in scalars
    )


def _double(field: int, value: float) -> bytes:
    return bytes([field << 3 | 1]) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Return a number >= 0 in protobuf's variable length."""
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return b"".join((length, _masked_crc(length), data, _masked_crc(data)))


def _masked_crc(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = [_entry(byte) for byte in range(256)]

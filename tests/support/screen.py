"""``Screen``: what a terminal shows after the bytes that a command wrote, pictures included."""

from __future__ import annotations

import base64
import io
import re
import zlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

INK = "\u2592"
"""What stands in a cell that a picture covers."""

_PARTS = re.compile(
    r"\x1b_G(?P<kitty>[^\x1b]*)\x1b\\"
    r"|\x1b\]1337;File=(?P<iterm2>[^\x07]*)\x07"
    r"|\x1bP(?P<sixel>[^\x1b]*)\x1b\\"
    r"|\x1b\]8;[^\x1b\x07]*(?:\x1b\\|\x07)"
    r"|\x1b\[(?P<csi>[0-9;?]*[A-Za-z])"
    r"|\x1b(?P<cursor>[78])"
    r"|(?P<control>[\r\n])"
    r"|(?P<text>[^\x1b\r\n])",
    re.DOTALL,
)


@dataclass
class Screen:
    """A terminal of a few rows, whose upper lines scroll away but are remembered.

    Anything that it does not know raises.
    """

    width: int = 120
    height: int = 20
    cell: tuple[int, int] = (8, 16)
    """Pixels of a character: width, height."""
    gone: list[str] = field(default_factory=list)
    """Lines that have scrolled away."""
    pictures: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    """All pictures that were sent, decoded, (H, W, 3)."""
    drawn: list[tuple[int, int, int]] = field(default_factory=list)
    """Where each drawing went: its row when it was drawn, its rows and columns."""
    placed: dict[str, int] = field(default_factory=dict)
    """The rows of kitty's pictures that are on the screen, by id."""

    def __post_init__(self) -> None:
        self._cells = [[" "] * self.width for _ in range(self.height)]
        self._row = self._column = 0
        self._saved = (0, 0)
        self._kitty: list[str] = []
        self._sizes: dict[str, tuple[int, int]] = {}

    @property
    def lines(self) -> list[str]:
        """All lines, as far as anything is below the last one."""
        lines = self.gone + ["".join(row).rstrip() for row in self._cells]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def cursor(self) -> tuple[int, int]:
        """The line, counted with those that have scrolled away, and the column."""
        return len(self.gone) + self._row, self._column

    @property
    def is_clean(self) -> bool:
        """Whether no picture is anywhere."""
        return not self.placed and not any(INK in line for line in self.lines)

    def write(self, text: str) -> None:
        """Take what a command has written."""
        at = 0
        while at < len(text):
            part = _PARTS.match(text, at)
            assert part is not None, f"unknown: {text[at : at + 40]!r}"
            at = part.end()
            if part["text"]:
                self._put(part["text"])
            elif part["control"] == "\r":
                self._column = 0
            elif part["control"]:
                self._column = 0  # as a terminal's driver has it
                self._down()
            elif part["csi"]:
                self._control(part["csi"])
            elif part["cursor"] == "7":
                self._saved = self._row, self._column
            elif part["cursor"]:
                self._row, self._column = self._saved
            elif part["kitty"] is not None:
                self._take_kitty(part["kitty"])
            elif part["iterm2"]:
                self._take_iterm2(part["iterm2"])
            elif part["sixel"]:
                self._draw(decode_sixel(part["sixel"]))

    def _put(self, character: str) -> None:
        if self._column == self.width:
            self._column = 0
            self._down()
        self._cells[self._row][self._column] = character
        self._column += 1

    def _down(self) -> None:
        if self._row + 1 < self.height:
            self._row += 1
            return
        self.gone.append("".join(self._cells.pop(0)).rstrip())
        self._cells.append([" "] * self.width)
        self.placed = {key: row - 1 for key, row in self.placed.items()}

    def _control(self, text: str) -> None:
        number, what = text[:-1], text[-1]
        if what == "A":
            self._row = max(0, self._row - int(number or 1))
        elif what == "K":
            assert number == "2"
            self._cells[self._row] = [" "] * self.width
        else:
            assert what in "mhl", text  # colours, and modes such as a hidden cursor

    def _take_kitty(self, message: str) -> None:
        head, _, payload = message.partition(";")
        values = dict(pair.split("=") for pair in head.split(","))
        action = values.get("a", "t")
        if action == "p":
            assert values["C"] == "1"
            self.placed[values["i"]] = self._row
            self.drawn.append((self._row, int(values["r"]), int(values["c"])))
        elif action == "d":
            self.placed.pop(values["i"], None)
        else:
            assert len(payload) <= 4096
            if "s" in values:
                assert (values["f"], values["o"]) == ("24", "z")
                self._kitty, size = [], (int(values["v"]), int(values["s"]), 3)
                self._sizes[values["i"]] = size[:2]
                self._shape = size
            self._kitty.append(payload)
            if values["m"] == "0":
                data = zlib.decompress(base64.b64decode("".join(self._kitty), validate=True))
                self.pictures.append(np.frombuffer(data, np.uint8).reshape(self._shape))

    def _take_iterm2(self, message: str) -> None:
        head, _, payload = message.partition(":")
        values = dict(pair.split("=") for pair in head.split(";"))
        data = base64.b64decode(payload, validate=True)
        assert (int(values["size"]), values["inline"]) == (len(data), "1")
        image = Image.open(io.BytesIO(data)).convert("RGB")
        self.pictures.append(np.asarray(image))
        self._cover(int(values["height"]), int(values["width"]))

    def _draw(self, picture: npt.NDArray[np.uint8]) -> None:
        self.pictures.append(picture)
        width, height = self.cell
        self._cover(-(-picture.shape[0] // height), -(-picture.shape[1] // width))

    def _cover(self, rows: int, columns: int) -> None:
        self.drawn.append((self._row, rows, columns))
        assert self._row + rows < self.height, "the terminal would scroll"
        for row in range(self._row, self._row + rows):
            for column in range(self._column, self._column + columns):
                self._cells[row][column] = INK
        self._row, self._column = self._row + rows, 7  # terminals differ in where they leave it


def decode_sixel(text: str) -> npt.NDArray[np.uint8]:
    """The pixels of a sixel picture, (H, W, 3); every pixel must have been set."""
    head = re.match(r'0;1;0q"1;1;(\d+);(\d+)', text)
    assert head is not None
    width, height = int(head[1]), int(head[2])
    colours: dict[int, tuple[int, ...]] = {}
    pixels = np.zeros((height, width, 3), np.uint8)
    filled = np.zeros((height, width), int)
    top = column = 0
    colour = -1
    at = head.end()
    part = re.compile(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|(?:!(\d+))?([?-~])|([$-])")
    while at < len(text):
        found = part.match(text, at)
        assert found is not None, text[at : at + 20]
        at = found.end()
        if found[1]:
            colours[int(found[1])] = tuple(round(int(found[k]) * 2.55) for k in (2, 3, 4))
        elif found[5]:
            colour = int(found[5])
        elif found[7]:
            count, bits = int(found[6] or 1), ord(found[7]) - 63
            for bit in range(6):
                if bits >> bit & 1:
                    pixels[top + bit, column : column + count] = colours[colour]
                    filled[top + bit, column : column + count] += 1
            column += count
            assert column <= width
        else:
            column = 0
            top += 6 * (found[8] == "-")
    assert (filled == 1).all()
    return pixels

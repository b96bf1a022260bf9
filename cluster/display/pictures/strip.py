"""``PictureStrip``: a bar at the bottom of a terminal, and above it a picture."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderResult
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment

from cluster.display.pictures.drawings import Drawing

REDRAW_SECONDS = 1.0
"""The shortest time between two drawings of a picture whose every drawing sends all of its pixels."""

OTHER_ROWS = 6
"""Rows of the terminal that the picture leaves to lines and the bar."""


class PictureStrip(Live):
    """A rich ``Live`` that draws a picture above what it shows, and removes it at the end.

    The rows of the picture are drawn when it changes, or when lines have been printed above; while only the
    bar moves, they are left alone.

    Args:
        console: The terminal.
        get_renderable: Returns the bar.
    """

    def __init__(self, console: Console, get_renderable: Callable[[], RenderableType]) -> None:
        super().__init__(
            console=console, get_renderable=get_renderable, transient=True, refresh_per_second=10
        )
        self._picture: Drawing | None = None
        self._sent: Drawing | None = None
        """The picture whose pixels the terminal has."""
        self._rows = 0
        """Rows above the bar that are the picture's."""
        self._drawn = False
        """Whether the picture is in them."""
        self._drawn_at = -REDRAW_SECONDS

    def show(self, picture: Drawing) -> None:
        """Show a picture in place of the last one. Any thread may call this; it is drawn with the next frame.

        Args:
            picture: The picture.
        """
        with self._lock:
            self._picture, self._drawn = picture, False

    def stop(self) -> None:
        """Remove the bar and the picture."""
        with self._lock:
            super().stop()
            if self._rows or self._sent is not None:
                removal = self._sent.remove if self._sent is not None else ""
                self.console.print(_Raw(removal + _up(self._rows)), end="")
            self._rows, self._sent, self._picture = 0, None, None

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what is printed, with the picture between it and the bar."""
        with self._lock:
            only_bar = all(isinstance(part, Control) for part in renderables)
            all_parts = super().process_renderables(renderables)
            if not self._started or len(all_parts) != len(renderables) + 2:
                return all_parts
            picture = self._picture
            if picture is not None and picture.rows + OTHER_ROWS > self.console.height:
                picture = None  # the terminal has become too small
            if only_bar and (self._drawn or picture is None or not self._may_draw(picture)):
                return all_parts
            reset, *printed, bar = all_parts
            above = _Raw(_up(self._rows))
            return [reset, above, *printed, _Raw(self._draw(picture)), bar]

    def _may_draw(self, picture: Drawing) -> bool:
        return picture.is_light or time.monotonic() - self._drawn_at >= REDRAW_SECONDS

    def _draw(self, picture: Drawing | None) -> str:
        """Return what makes room for the picture at the cursor, and draws it if it is time for that."""
        if picture is None:
            self._rows = 0
            return ""
        # First the rows, so that nothing scrolls when the picture is there.
        text = "\n" * picture.rows
        self._rows = picture.rows
        self._drawn = self._may_draw(picture)
        if self._drawn:
            self._drawn_at = time.monotonic()
            text += "" if picture is self._sent else picture.send
            self._sent = picture
            text += f"\x1b7\x1b[{picture.rows}A\r{picture.draw}\x1b8"
        return text


class _Raw:
    """Text for the terminal that takes no room of its own."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._text:
            yield Segment(self._text, None, [(ControlType.CARRIAGE_RETURN,)])


def _up(rows: int) -> str:
    """Return what erases the rows above the cursor, from the last to the first, and leaves it in this one."""
    return "\r" + "\x1b[1A\x1b[2K" * rows if rows else ""

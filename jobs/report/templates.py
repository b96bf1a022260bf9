"""The templates of pages, and the files that lie beside them. The only module that imports Jinja."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from jinja2 import Environment, Template

PARTS = (
    *("core", "store", "films", "find", "state", "wall", "proofs", "compare", "stage"),
    *("curves", "viewer", "facts", "timeline", "player", "sheet", "live", "main"),
)
"""The parts of the page's script, in ``app/``, in order."""


def load_template(name: str) -> Template:
    """Return a template of this folder. Its filter ``link`` makes a key part of an address.

    Args:
        name: The file's name.
    """
    return _environment().get_template(name)


def gallery_script() -> bytes:
    """Return the page's script: its parts as one, for a page from a folder cannot import."""
    parts = [_file(f"app/{part}.js").decode() for part in PARTS]
    return "\n".join(['"use strict";', "(() => {", *parts, "})();", ""]).encode()


def gallery_style() -> bytes:
    """Return the page's style sheet, with that of the charts."""
    return _file("gallery.css") + vendored("uPlot.min.css")


def gallery_icon() -> bytes:
    """Return the page's icon, as SVG."""
    return _file("icon.svg")


def vendored(name: str) -> bytes:
    """Return a file of the libraries that lie in ``vendor/``, as they were published."""
    return _file(f"vendor/{name}")


def _file(name: str) -> bytes:
    return files("jobs.report").joinpath(name).read_bytes()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("jobs.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["link"] = lambda key: quote(str(key), safe="/")
    return environment

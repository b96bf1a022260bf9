"""The templates of pages, and the files that lie beside them. The only module that imports Jinja."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from jinja2 import Environment, Template


def load_template(name: str) -> Template:
    """Return a template of this folder. Its filter ``link`` makes a key part of an address.

    Args:
        name: The file's name.
    """
    return _environment().get_template(name)


def asset(name: str) -> bytes:
    """Return a file of this folder.

    Args:
        name: The file's name.
    """
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

"""Standard output, standard error and logging, as commands share them."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import IO, Literal


def tell(text: str) -> None:
    """Print a line on standard error, at once."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def own_stdout() -> Iterator[IO[str]]:
    """Yield standard output for our text alone.

    What others print there, such as Ray about workers that died, goes to standard error meanwhile.
    """
    sys.stdout.flush()
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")  # as JSON is, whatever the locale
    os.dup2(2, 1)
    try:
        yield own
    finally:
        sys.stdout.flush()
        own.flush()
        os.dup2(own.fileno(), 1)
        own.close()


def set_up_logging(verbose: bool, log_format: Literal["text", "json"] = "text") -> None:
    """Log what is of level INFO or above if ``verbose``, and otherwise only what is critical.

    Args:
        verbose: Whether ``--verbose`` is given.
        log_format: Lines of text, or one JSON object per line; used if ``verbose``.
    """
    if not verbose:
        logging.basicConfig(force=True, level=logging.CRITICAL)
        return
    from cluster.events.logs import set_up

    set_up(log_format, logging.INFO)

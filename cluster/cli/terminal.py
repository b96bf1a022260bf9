"""What commands say on standard error, how they end at once, and logging."""

from __future__ import annotations

import logging
import os
import sys
from typing import Literal, NoReturn

from cluster.display.standard import standard

IMPATIENT_SECONDS = 1.0
"""How long a command that was ended by its user waits for who reads what it says, in seconds."""


def tell(text: str) -> None:
    """Print a line on standard error, at once."""
    print(text, file=sys.stderr, flush=True)


def leave(status: int) -> NoReturn:
    """End the process without an ordinary exit, which would wait for the threads that are painting.

    Args:
        status: The exit status.
    """
    try:
        standard().finish(IMPATIENT_SECONDS)
    finally:
        os._exit(status)


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

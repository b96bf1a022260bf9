"""``doubtful_masks``: look at masks for one that is probably not the one that is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from jobs.errors import InputError, StorageError
from jobs.inputs.addresses import display
from jobs.inputs.reader import Inputs
from jobs.parallel import parallel_map
from stylize.errors import PictureError

MOST_PIXELS = 25_000_000
"""Pixels of a mask that is looked at: larger ones take seconds, and are told when they are painted with."""

THREADS = 2


def doubtful_masks(inputs: Inputs, uris: Sequence[str], stop: Callable[[], bool]) -> Iterator[str]:
    """Yield a sentence about every mask that is doubtful: "masks/sky.png is black everywhere, ...".

    Masks that cannot be read are passed over: their tasks fail with the reason.

    Args:
        inputs: Reads the masks.
        uris: Their addresses.
        stop: Returns whether to stop looking.
    """

    def look(uri: str) -> str | None:
        # Here, because Pillow is slow to import.
        from stylize.pictures.mask import read_mask
        from stylize.pictures.reading.open import pixels_in

        if stop():
            return None
        try:
            data = inputs.read(uri).data
            if (pixels_in(data) or 0) > MOST_PIXELS:
                return None
            doubt = read_mask(data).doubt
        except (InputError, StorageError, PictureError, MemoryError):
            return None
        return None if doubt is None else about_mask(uri, doubt)

    for sentence in parallel_map(look, uris, THREADS):
        if sentence is not None:
            yield sentence


def about_mask(uri: str, doubt: str) -> str:
    """Return the sentence about a doubtful mask, from its address and its ``Mask.doubt``."""
    return f"{display(uri)} {doubt}"

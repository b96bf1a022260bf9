"""``motion_key``: where the motion of a stretch of a film is kept in an output."""

from __future__ import annotations

import hashlib
import itertools
import json

from jobs.errors import InputError
from jobs.inputs.reader import Inputs
from jobs.storage import keys
from jobs.tasks.films.stretch import Stretch


def motion_key(stretch: Stretch, inputs: Inputs) -> str:
    """Return the key of the motion between frames: another one where a frame is another, or where the motion
    comes from elsewhere.

    Args:
        stretch: The frames.
        inputs: Tells whether frames have changed; none of them is read.

    Raises:
        StorageError: A store does not answer.
    """
    digest = hashlib.sha256()
    for uri in (*stretch.uris, *itertools.chain.from_iterable(stretch.given)):
        try:
            there = inputs.stat(uri)
        except InputError:
            there = None
        about = None if there is None else (there.size, there.etag or there.modified)
        digest.update(json.dumps([uri, about]).encode("utf-8", "surrogatepass"))
    if stretch.way != "dis":
        digest.update(stretch.way.encode())
    return keys.film_flow(stretch.film, stretch.first, stretch.last, digest.hexdigest()[:8])

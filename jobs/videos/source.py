"""``check_source``: whether a film file is still the one from which the frames of a video were painted."""

from __future__ import annotations

from jobs.errors import InputError
from jobs.inputs.addresses import display
from jobs.inputs.reader import Inputs
from jobs.records.commit import Records
from jobs.tasks.changed_inputs import is_other
from jobs.videos.wanted import WantedVideo


def check_source(video: WantedVideo, records: Records, inputs: Inputs) -> None:
    """Check three frames, those of them that are read only where the file has another time than it had.

    Else a video would have the times and the sound of one film, and the pictures of another.

    Args:
        video: The video; all its frames are painted.
        records: Those of its frames among them.
        inputs: Reads its film file.

    Raises:
        InputError: It is another film.
        StorageError: A record, or the store that has the film file, cannot be read.
    """
    file = video.frames.file
    if file is None:
        return
    last = len(video.tasks) - 1
    for at in sorted({0, last // 2, last}):
        record, uri = records.read(f"{int(video.tasks[at]):016x}"), video.frames.uris[at]
        read = () if record is None else record.inputs
        was = next((one for one in read if one.uri == display(uri)), None)
        if was is not None and is_other(inputs, uri, was):
            raise InputError(
                f"{file} is another film than the one that was painted; run with --if-changed."
            )

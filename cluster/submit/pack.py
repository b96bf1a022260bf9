"""What a submitted job needs from this machine. The cluster sees none of it, so it is sent along or refused.

Ray unpacks what is sent into a folder on every node and starts the driver and its workers there::

    job/<job file>, job/photos/...      the job file and its inputs, as they lie relative to each other
    cluster/, jobs/, stylize/           this package, for clusters that lack it

Relative paths thus mean the same there as here, and a task has the same id on both.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath
from typing import Literal

from cluster.submit.bundle import JOB_FOLDER, Parcel, package_files
from jobs.errors import InputError, JobFileError, Problem, UsageError
from jobs.inputs.archives.archive import stored_at
from jobs.inputs.reader import Inputs
from jobs.jobfile.job import Job
from jobs.jobfile.own_pictures import OwnPictures
from jobs.jobfile.yaml_source import FieldPath
from jobs.manifests.folders import find_files
from jobs.spec.films.flow import ENDINGS, GivenFlow
from jobs.spec.films.flow_names import flow_names
from jobs.spec.pairs import PairSet
from jobs.spec.styles import MASK_FIELD
from jobs.storage.base import local_path
from jobs.storage.scratch import scratch_folder
from jobs.tasks.films.frames import Numbered, find_number
from jobs.tasks.manifest_rows import ManifestSet, find_manifests
from jobs.tasks.row_account import RowDrafts
from stylize.recipe import Recipe

SHIP_LIMIT = 100 * 1000 * 1000
"""The most that is sent, in bytes. Every node gets a copy through the head's memory, not made for more."""

ROWS_CHECKED = 100
"""Rows that are read of a manifest that is not sent: if one names a picture beside the job file, most do."""

WEIGHTS_BY_NAME = ("caffe", "torchvision")

_SHARE = "give s3://, or an absolute path that the cluster and this machine share"
"""The advice for a job file that goes to the cluster alone."""

_SEND_BELOW = (
    "write it relative to the job file and add --ship-inputs (or --allow-local, if the cluster sees this "
    "folder)"
)

ReferenceKind = Literal["picture", "mask", "film", "flow", "manifest", "file"]


def pack(
    job: Job,
    *,
    inputs: bool = False,
    package: bool = False,
    in_place: bool = False,
    alone: bool = False,
    limit: int = SHIP_LIMIT,
) -> Parcel:
    """Return what is to be sent for a job.

    Args:
        job: The job to submit.
        inputs: Whether to send its pictures, masks, manifests and weights along that are given by paths
            relative to the job file.
        package: Whether to send this package along.
        in_place: Whether to send no file of the job, because the cluster sees its folder under the same path.
        alone: Whether the job file goes to the cluster without any other file, and without the options of
            ``submit``: the problems then advise s3:// or a shared path only.
        limit: The most bytes of inputs to send.

    Raises:
        JobFileError: The cluster would not find what the job names.
        UsageError: The inputs have more than ``limit`` bytes.
    """
    path = Path(job.file).absolute()
    if in_place:
        parcel = Parcel(str(path))
    else:
        problems = [*_output_problems(job, alone), *_input_problems(job, inputs, alone)]
        if problems:
            raise JobFileError(sorted(problems, key=lambda p: p.line or 0))
        parcel = Parcel(f"{JOB_FOLDER}/{path.name}", {f"{JOB_FOLDER}/{path.name}": path})
        if inputs:
            _add_inputs(job, parcel, limit)
    if package:
        parcel.has_package = True
        parcel.files |= package_files()
    return parcel


# --- what a job names ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reference:
    """A path or an address that a job file names."""

    path: FieldPath
    kind: ReferenceKind
    written: str


def _references(job: Job) -> Iterator[_Reference]:
    """Yield everything that a job reads from somewhere."""
    spec = job.spec
    for k, pair in enumerate(spec.pairs):
        yield from _pictures(k, pair)
        for n, manifest in enumerate(pair.manifest or ()):
            yield _Reference(("pairs", k, "manifest", n), "manifest", manifest)
        weights = pair.recipe.get("weights")
        if weights is not None:
            yield _Reference(("pairs", k, "recipe", "weights"), "file", str(weights))
        for n, swept in enumerate(pair.sweep.get("weights", ())):
            yield _Reference(("pairs", k, "sweep", "weights", n), "file", str(swept))
    if spec.recipe.get("weights") is not None:
        yield _Reference(("recipe", "weights"), "file", str(spec.recipe["weights"]))
    if spec.storage.ca_bundle is not None:
        yield _Reference(("storage", "ca_bundle"), "file", spec.storage.ca_bundle)


def _pictures(k: int, pair: PairSet) -> Iterator[_Reference]:
    if pair.film is not None:
        yield _Reference(("pairs", k, "film"), "film", pair.film)
    if isinstance(pair.flow, GivenFlow):
        for direction in GivenFlow.model_fields:
            written = getattr(pair.flow, direction)
            yield _Reference(("pairs", k, "flow", direction), "flow", written)
    for n, content in enumerate(pair.content or ()):
        yield _Reference(("pairs", k, "content", n), "picture", content)
    for n, style in enumerate(pair.style or ()):
        for uri, _, mask in style.parts:
            yield _Reference(("pairs", k, "style", n), "picture", uri)
            if mask is not None:
                kind: ReferenceKind = "mask" if pair.film is None or MASK_FIELD in mask else "film"
                yield _Reference(("pairs", k, "style", n), kind, mask)
    if pair.init is not None:
        yield _Reference(("pairs", k, "init"), "picture", pair.init)


def _where(written: str, base: Path) -> Literal["remote", "shared", "beside", "below", "home"]:
    """Return where a path leads.

    remote: S3, the web, or weights by name; shared: an absolute path, which the cluster is assumed to have;
    beside: relative to the job file; below: absolute, in the job file's folder; home: in a home folder.
    """
    if written in WEIGHTS_BY_NAME or ("://" in written and not written.startswith("file://")):
        return "remote"
    if re.match("~(/|$)", written):
        return "home"
    if written.startswith("file://") or PurePath(written).is_absolute():
        return "below" if local_path(written).is_relative_to(base.absolute()) else "shared"
    return "beside"


def _output_problems(job: Job, alone: bool) -> Iterator[Problem]:
    where = _where(job.spec.output, job.base)
    if where in ("beside", "home"):
        yield job.problem(
            ("output",),
            f"{job.spec.output} is a folder of this machine; {_SHARE}"
            + ("" if alone else " (or --allow-local, if they share this very folder)"),
        )


def _input_problems(job: Job, shipped: bool, alone: bool) -> Iterator[Problem]:
    """Yield what the cluster would not find, or would find elsewhere: one problem per field."""
    reported: set[FieldPath] = set()
    for reference in _references(job):
        field_path = reference.path[:3] if reference.path[0] == "pairs" else reference.path
        reason = _reason(reference, job.base, shipped, alone)
        if reason is not None and field_path not in reported:
            reported.add(field_path)
            yield job.problem(reference.path, f"{reference.written} {reason}")
    for k in () if shipped else range(len(job.spec.pairs)):
        if _manifests_of(job, k) == {"shared"}:
            names = _row_pictures_if_here(job, k, ROWS_CHECKED)
            name = next((name for name in names if _where(name, job.base) == "beside"), None)
            if name is not None:
                yield job.problem(
                    ("pairs", k, "manifest"),
                    f"its rows name {name}, which is relative to the job file: "
                    + (
                        f"{_SHARE}, in each row"
                        if alone
                        else "--ship-inputs sends such pictures along (or --allow-local, if the cluster "
                        "sees this folder)"
                    ),
                )


def _reason(reference: _Reference, base: Path, shipped: bool, alone: bool) -> str | None:
    where = _where(reference.written, base)
    if where == "home":
        return "begins with ~, which is another folder on the cluster"
    if where == "below" and reference.kind != "file":
        return "is in the job file's own folder, which the cluster does not see: " + (
            f"{_SHARE}, outside that folder" if alone else _SEND_BELOW
        )
    if where != "beside":
        return None
    if not shipped:
        return "is relative to the job file, so the cluster does not see it: " + (
            _SHARE
            if alone
            else "--ship-inputs sends it along (or --allow-local, if the cluster sees this folder)"
        )
    if ".." in PurePosixPath(reference.written).parts:
        return "is not below the job file's folder, so it is not sent along"
    return None


# --- what is sent ----------------------------------------------------------------------------------


def _add_inputs(job: Job, parcel: Parcel, limit: int) -> None:
    inputs = Inputs(job.base, job.spec.storage, own=OwnPictures(job))
    names: dict[str, None] = {}
    problems: list[Problem] = []
    for reference in _references(job):
        if _where(reference.written, job.base) == "beside":
            try:
                matches = _files_of(reference, inputs)
            except InputError as error:
                problems.append(job.problem(reference.path, str(error)))
                continue
            if not matches:
                problems.append(job.problem(reference.path, f"{reference.written} matches nothing"))
            names |= dict.fromkeys(matches)
    if problems:
        raise JobFileError(problems)
    left = limit
    for name in map(stored_at, (*names, *_row_names(job))):
        path = job.base / name
        key = f"{JOB_FOLDER}/{PurePosixPath(name)}"
        # A missing file fails its own task there, as it would here, and no other.
        if key not in parcel.files and os.path.isfile(path):  # noqa: PTH113
            left -= path.stat().st_size
            if left < 0:
                raise UsageError(
                    f"{job.file}: --ship-inputs would send more than {limit / 1e6:,.0f} MB to every node; "
                    "put the pictures on s3:// or into a folder that all machines share"
                )
            parcel.files[key] = path


def _files_of(reference: _Reference, inputs: Inputs) -> list[str]:
    """Return the files that a relative path or pattern names."""
    if reference.kind == "file":
        return [PurePath(reference.written).as_posix()]
    if reference.kind == "manifest":
        return [name for name, _ in find_files(inputs, reference.written, inputs.unread.note)]
    if reference.kind == "film" and (parts := find_number(reference.written)) is not None:
        return inputs.expand(Numbered(*parts).pattern)
    if reference.kind == "flow" and (names := flow_names(reference.written)) is not None:
        return inputs.expand(names.pattern, lambda name: name.lower().endswith(ENDINGS))
    if reference.kind == "mask" and MASK_FIELD in reference.written:
        # Contents that give masks their names may be on S3, so every mask that matches is sent.
        return inputs.expand("*".join(map(glob.escape, reference.written.split(MASK_FIELD))))
    return inputs.expand(reference.written)


def _row_names(job: Job) -> Iterator[str]:
    """Yield the files that rows of manifests name relative to the job file. Manifests on S3 are not read."""
    for k in range(len(job.spec.pairs)):
        locations = _manifests_of(job, k)
        read_rows = _row_pictures if "beside" in locations else _row_pictures_if_here
        for name in read_rows(job, k) if locations & {"beside", "shared"} else ():
            if _where(name, job.base) == "beside" and ".." not in PurePosixPath(name).parts:
                yield name


def _manifests_of(job: Job, k: int) -> set[str]:
    """Return where the manifests of an entry are, in the words of ``_where``."""
    return {_where(written, job.base) for written in job.spec.pairs[k].manifest or ()}


def _row_pictures_if_here(job: Job, k: int, most: int | None = None) -> Iterator[str]:
    """Yield what ``_row_pictures`` does, or nothing where this machine lacks the manifests."""
    with contextlib.suppress(JobFileError):
        yield from _row_pictures(job, k, most)


def _row_pictures(job: Job, k: int, most: int | None = None) -> Iterator[str]:
    """Yield what the rows of an entry name, with repetitions; rows that cannot be used are skipped."""
    with scratch_folder("copies of manifests") as folder:
        for row in islice(_manifest_set(job, k, Path(folder)).rows(), most):
            for draft in row.drafts if isinstance(row, RowDrafts) else ():
                yield draft.content
                for part in draft.styles:
                    yield from (part.uri,) if part.mask is None else (part.uri, part.mask)
                yield from () if draft.init is None else (draft.init,)
                yield draft.kind.recipe.weights


def _manifest_set(job: Job, k: int, folder: Path) -> ManifestSet:
    inputs = Inputs(job.base, job.spec.storage, own=OwnPictures(job))

    def no_digest(_: Recipe) -> str:
        return ""  # only a task's identity needs it, and no identity is computed here

    return find_manifests(job, k, inputs, no_digest, lambda: folder)

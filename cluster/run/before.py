"""What happens before a run renders: choose what is rendered, and take back what must be rendered again."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator
from dataclasses import dataclass

from cluster.events.events import InputChanged, Listener, PictureLost
from cluster.run.options import RunOptions
from jobs.errors import UsageError
from jobs.jobfile.job import Job, open_output
from jobs.preflight.names import pictures_of
from jobs.proofs.proofs import Proofs, done_proofs, have_other_size, proofs_of, wanted_size
from jobs.proofs.selection import Selection, read_selection
from jobs.records.commit import Records
from jobs.records.statuses import ABSENT, DONE, Ledger
from jobs.records.verify import find_damaged
from jobs.storage.base import Storage
from jobs.tasks.changed_inputs import find_changes
from jobs.tasks.identity import Draft
from jobs.tasks.row_account import RowAccount
from jobs.tasks.todo import Agenda


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a run renders, and where to."""

    job: Job
    """The job; its output is that of the proofs where these are rendered."""
    agenda: Agenda
    """The tasks: all of the job's, the selected ones, or its proofs."""
    proof_size: int | None = None
    """The longest side of the proofs, in pixels; None for pictures."""
    chosen: Selection | None = None
    """Those of the tasks that were selected, where others are among them that these hold to; None: all."""


def choose_rendering(job: Job, options: RunOptions, agenda: Agenda) -> Rendering:
    """Return what a run renders: the job's pictures, the selected ones, or its proofs.

    What a selected frame of a film holds to is rendered, too.

    Args:
        job: The job.
        options: Say which: ``proof``, ``proof_size``, ``select``.
        agenda: All tasks of the job.

    Raises:
        UsageError: The selection names tasks that the job lacks, or no proof is done.
    """
    if options.proof:
        proofs = proofs_of(job)
        size = wanted_size(open_output(proofs), options.proof_size)
        return Rendering(proofs, agenda.seen_as(Proofs(size)), size)
    if options.select is None:
        return Rendering(job, agenda)
    ids = read_selection(options.select)
    drafts = (draft for draft, _ in agenda.drafts(Ledger.of({}), RowAccount()))
    if ids is not None:
        chosen = Selection(ids)
        return Rendering(job, agenda.seen_as(chosen.complete(drafts)), chosen=chosen)
    storage = open_output(proofs_of(job))
    ids = done_proofs(storage)
    if not ids:
        raise UsageError(f"no proof is done in {storage.url}: make some with stylefarm run --proof")
    return Rendering(job, agenda.seen_as(Selection(ids)))


def starts_over(rendering: Rendering, options: RunOptions, storage: Storage) -> bool:
    """Return whether a run renders all of its tasks again, whatever their records say.

    Args:
        rendering: What the run renders.
        options: Say whether to overwrite.
        storage: The output, which may have proofs of another size.
    """
    size = rendering.proof_size
    return options.overwrite or (size is not None and have_other_size(storage, size))


def take_back(
    rendering: Rendering,
    options: RunOptions,
    storage: Storage,
    records: Records,
    listen: Listener,
    missing: Container[str] = (),
) -> Ledger:
    """Delete the records of all tasks that are to be rendered again.

    With ``overwrite``, these are no more than ``limit`` allows, and none that is done and needs a picture
    that is missing: what the run does not render keeps its record. Nor does what is done and was not selected
    itself, but is what selected frames hold to.

    Args:
        rendering: What the run renders.
        options: Say which tasks: ``overwrite``, ``verify``, ``if_changed``.
        storage: The output.
        records: The output's records.
        listen: Hears which pictures were lost, and which inputs have changed.
        missing: Pictures that cannot be used.

    Returns:
        The statuses of the remaining records.
    """
    ledger = records.ledger(pack=True)
    if starts_over(rendering, options, storage):
        if options.overwrite:
            _forget_all(records, ledger, rendering, options.limit, missing)
        else:  # proofs of another size: no two sizes are in one output
            _forget_all(records, ledger, rendering, None, ())
        ledger = records.ledger()
    elif options.verify:
        ledger = _forget_damaged(storage, records, ledger, listen)
    if options.if_changed and not options.overwrite:
        ledger = _forget_changed(records, ledger, rendering.agenda, listen)
    records.sweep_probes()
    records.sweep_checkpoints(ledger)
    records.sweep_previews()
    return ledger


def _forget_damaged(storage: Storage, records: Records, ledger: Ledger, listen: Listener) -> Ledger:
    """Take back the done tasks whose picture differs from its record."""
    damages = list(find_damaged(storage, records.entries()))
    for damage in damages:
        listen(PictureLost(id=damage.id, name=damage.name, image=damage.key, what=damage.what))
    if not damages:
        return ledger
    records.forget(damage.id for damage in damages)
    return records.ledger()


def _forget_all(
    records: Records,
    ledger: Ledger,
    rendering: Rendering,
    most: int | None,
    missing: Container[str],
) -> None:
    """Take back the first tasks of the job, in the order in which they are rendered.

    This is done at once, not one by one: a run that is interrupted can then be resumed, and no record points
    to a loss log that is being rewritten.
    """

    chosen = rendering.chosen

    def rendered() -> Iterator[tuple[Draft, int]]:
        for draft, code in rendering.agenda.drafts(ledger, RowAccount()):
            if code == DONE and chosen is not None and chosen(draft) is None:
                continue  # it is only read
            if code != DONE or not any(uri in missing for uri in pictures_of(draft)):
                yield draft, code

    again = itertools.islice(rendered(), most)
    records.forget((draft.id for draft, code in again if code != ABSENT), ledger.kept)


def _forget_changed(records: Records, ledger: Ledger, agenda: Agenda, listen: Listener) -> Ledger:
    """Take back the tasks of the job whose pictures have changed since. Other jobs' tasks in this output are
    unknown here and stay."""
    stale: list[str] = []
    for change in find_changes(records, ledger, agenda):
        listen(InputChanged(id=change.id, name=change.name, uri=change.uri, what=change.what))
        if change.what == "changed":
            stale.append(change.id)
    if not stale:
        return ledger
    records.forget(stale, ledger.kept)
    return records.ledger()

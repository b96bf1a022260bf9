"""What is taken back before a run begins."""

from __future__ import annotations

from dataclasses import replace

from cluster.events.events import (
    InputChanged,
    Listener,
    PictureLost,
)
from cluster.run.options import RunOptions
from jobs.errors import UsageError
from jobs.jobfile.job import Job, open_output
from jobs.proofs.proofs import Proofs, done_proofs, proofs_of, wanted_size
from jobs.proofs.selection import Selection, read_selection
from jobs.records.commit import Records
from jobs.records.statuses import ABSENT, Ledger
from jobs.records.verify import find_damaged
from jobs.storage.base import Storage
from jobs.tasks.census import BadRows
from jobs.tasks.changed_inputs import find_changes
from jobs.tasks.todo import Agenda


def choose_rendering(
    job: Job, options: RunOptions, agenda: Agenda
) -> tuple[Job, RunOptions, Agenda]:
    """What of the job is rendered, and where to: its pictures, the chosen ones of them, or its proofs.
    Raises UsageError."""
    if options.proof:
        proofs = proofs_of(job)
        size = wanted_size(open_output(proofs), options.proof_size)
        return proofs, replace(options, proof_size=size), agenda.seen_as(Proofs(size))
    if options.select is None:
        return job, options, agenda
    ids = read_selection(options.select)
    if ids is not None:
        selection = Selection(ids)
        selection.check(draft for draft, _ in agenda.drafts(Ledger.of({}), BadRows()))
        return job, options, agenda.seen_as(selection)
    storage = open_output(proofs_of(job))
    ids = done_proofs(storage)
    if not ids:
        raise UsageError(f"no proof is done in {storage.url}: make some with stylefarm run --proof")
    return job, options, agenda.seen_as(Selection(ids))


def forget_damaged(storage: Storage, records: Records, ledger: Ledger, listen: Listener) -> Ledger:
    """Take back what is done but whose picture is not what its record says."""
    damages = list(find_damaged(storage, records.entries()))
    for damage in damages:
        listen(PictureLost(damage.id, damage.name, damage.key, damage.what))
    if not damages:
        return ledger
    records.forget(damage.id for damage in damages)
    return records.ledger()


def forget_all(records: Records, ledger: Ledger, agenda: Agenda) -> None:
    """Take back what the job has had rendered. Now, and not one by one: so a run that is interrupted can be
    gone on with, and no record speaks of a loss log that is being written anew."""
    drafts = agenda.drafts(ledger, BadRows())
    records.forget((draft.id for draft, code in drafts if code != ABSENT), ledger.kept)


def forget_changed(records: Records, ledger: Ledger, agenda: Agenda, listen: Listener) -> Ledger:
    """Take back what the job has had rendered from pictures that have changed since. Of other jobs' tasks in
    this output nothing is known here, and they are left alone."""
    stale: list[str] = []
    for change in find_changes(records, ledger, agenda):
        listen(InputChanged(change.id, change.name, change.uri, change.what))
        if change.what == "changed":
            stale.append(change.id)
    if not stale:
        return ledger
    records.forget(stale, ledger.kept)
    return records.ledger()

"""Run one function on several members of a group of processes, and collect what each returns."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

OfMember = Callable[[int, dist.ProcessGroup], Any]
"""A function of a module, given the member's number and the group."""


def together(members: int, of_member: OfMember, folder: Path) -> list[Any]:
    """What each member's call returns."""
    mp.spawn(_member, (members, of_member, folder), members)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"{k}.pt", weights_only=False) for k in range(members)]


def _member(number: int, members: int, of_member: OfMember, folder: Path) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    where = (folder / "members").as_uri()
    dist.init_process_group("gloo", init_method=where, rank=number, world_size=members)
    assert dist.group.WORLD is not None
    torch.save(of_member(number, dist.group.WORLD), folder / f"{number}.pt")
    dist.destroy_process_group()

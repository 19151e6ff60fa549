"""One process or several (`torchrun`), and the device of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from bonekit.errors import InputError


@dataclass(frozen=True)
class Place:
    """One process among all.

    Parameters
    ----------
    rank : int
        0 writes and validates.
    processes : int
    device : torch.device
    """

    rank: int
    processes: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Let gradients be averaged over the processes."""
        if self.processes == 1:
            return network
        return DistributedDataParallel(network)

    def agree(self, value: float) -> float:
        """Give all processes the first one's number."""
        if self.processes == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(tensor, 0)
        return float(tensor)


@contextmanager
def place(device: str) -> Iterator[Place]:
    """Find the device, and join the other processes where `torchrun` started several.

    Raises
    ------
    InputError
        If a CUDA device is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise InputError("device cuda: there is no CUDA device here; take 'cpu' or 'auto'")
    cuda = available and device != "cpu"
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    where = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(where)
    if processes == 1:
        yield Place(0, 1, where)
        return
    joined = distributed.is_initialized()
    if not joined:
        distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Place(distributed.get_rank(), processes, where)
    finally:
        if not joined:
            distributed.destroy_process_group()

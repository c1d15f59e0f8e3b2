"""Communication between the processes that ``torchrun`` starts. With a single process all operations are no-ops."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed
from torch.distributed.nn import functional as with_gradient


@dataclass(frozen=True, slots=True)
class Processes:
    """Rank of this process, number of processes, and the device of this one."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process prints and saves."""
        return self.rank == 0

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes in rank order; gradients flow back to each process."""
        if self.count == 1:
            return rows
        if rows.requires_grad:
            return torch.cat(list(with_gradient.all_gather(rows)))
        parts = [torch.empty_like(rows) for _ in range(self.count)]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def broadcast(self, value: float) -> float:
        """Return the value of the first process. Times differ between processes, and all must stop at the same step."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return float(shared)

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Return each scalar averaged over the processes."""
        together = torch.stack([value.detach() for value in values.values()])
        if self.count > 1:
            distributed.all_reduce(together)
        return dict(zip(values, (together / self.count).tolist(), strict=True))

    def wait(self) -> None:
        """Wait until all processes have reached this call, for example after the first one has written a file."""
        if self.count > 1:
            distributed.barrier()

    def describe_machine(self, threads: int) -> str:
        """Return a description of the hardware, such as ``2 x NVIDIA A100``."""
        if self.device.type == "cuda":
            return f"{self.count} x {torch.cuda.get_device_name(self.device)}"
        shared = f"{self.count} processes of " if self.count > 1 else ""
        return f"{shared}{threads} {platform.machine()} CPU cores"


SINGLE_PROCESS = Processes(0, 1, torch.device("cpu"))


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Yield the process group that ``torchrun`` started (NCCL between GPUs, Gloo between CPUs), or a single process without it."""
    cuda = torch.cuda.is_available()
    if "RANK" not in os.environ:
        yield Processes(0, 1, torch.device("cuda" if cuda else "cpu"))
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()

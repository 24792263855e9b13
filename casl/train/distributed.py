"""The processes that do one stage together, and the messages between them.

One process alone is its own and only peer: nothing is started and nothing is sent. Messages (counts, losses, requests
to stop) go over gloo, gradients over nccl where they lie on GPUs. Every exchange is a meeting of all ranks, in the same
order everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from typing import Any

import torch
from torch import Tensor, distributed, nn

from casl.errors import PeerLostError, StageError

TIMEOUT_S = 600.0  # longer than any rank may keep the others waiting: a checkpoint to a slow disk, a late batch
BUCKET = 1 << 24  # numbers a message of gradients
PIECE = 1 << 28  # bytes a message of a broadcast
_SHORT = "short of memory"
_groups = count()  # of this process; all ranks of a stage have joined as many


class Peers:
    """All ranks of a stage, seen from one of them.

    Args:
        rank: of this process.
        world: number of processes.
        store: torch's, which all ranks read and write without meeting; None for one alone.
    """

    def __init__(self, rank: int = 0, world: int = 1, store: Any = None) -> None:
        self.rank, self.world, self._store = rank, world, store

    def tell_short_of_memory(self) -> None:
        """Record that this rank ends for lack of memory, so that the others, finding it gone, report that cause."""
        if self._store is not None:
            self._store.set(_SHORT, str(self.rank))

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        """The numbers that each rank passed, in the order of ranks; every rank passes as many.

        Raises:
            PeerLostError: a rank is gone.
        """
        mine = [float(value) for value in values]
        if self.world == 1:
            return [mine]
        rows = [torch.empty(len(mine), dtype=torch.float64) for _ in range(self.world)]
        with self._meeting():
            distributed.all_gather(rows, torch.tensor(mine, dtype=torch.float64))
        return [row.tolist() for row in rows]

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true on any rank."""
        return flag if self.world == 1 else any(row[0] for row in self.gather([flag]))

    def broadcast(self, data: bytes) -> bytes:
        """The bytes that rank 0 passed."""
        if self.world == 1:
            return data
        size = int(self.gather([len(data)])[0][0])
        own = bytearray(size) if self.rank else bytearray(data)
        whole = torch.frombuffer(own, dtype=torch.uint8)
        with self._meeting():
            for piece in torch.split(whole, PIECE):
                distributed.broadcast(piece, src=0)
        return bytes(own)

    def add(self, tensor: Tensor) -> None:
        """Replace a contiguous tensor by its sum over all ranks."""
        if self.world > 1:
            with self._meeting():
                distributed.all_reduce(tensor)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over all ranks. A parameter without a gradient on any rank keeps none."""
        if self.world == 1:
            return
        everything = list(parameters)
        rows = self.gather([float(p.grad is not None) for p in everything])
        wanted = [p for p, *has in zip(everything, *rows, strict=True) if any(has)]
        for bucket in _buckets(wanted):
            for parameter in bucket:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            gradients = [p.grad for p in bucket if p.grad is not None]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            self.add(flat)
            for gradient, sums in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
                gradient.copy_(sums.view_as(gradient))

    @contextmanager
    def _meeting(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if self._others_short_of_memory():
                raise torch.OutOfMemoryError(f"another rank than {self.rank} was short of memory") from error
            raise PeerLostError(
                f"rank {self.rank} of {self.world}: another process of this stage ended or did not answer.\n"
                f"  its own log says why; the stage goes on from its last checkpoint when it is run again.\n"
                f"  ({str(error).strip().splitlines()[0]})"
            ) from error

    def _others_short_of_memory(self) -> bool:
        try:
            return self._store is not None and bool(self._store.check([_SHORT]))
        except RuntimeError:  # the rank that keeps the store is gone, for whatever reason
            return False


ALONE = Peers()


def portion(count: int, parts: int, index: int) -> tuple[int, int]:
    """First and last (exclusive) of `count` things that part `index` of `parts` has; sizes differ by one at most."""
    return index * count // parts, (index + 1) * count // parts


@contextmanager
def joined(
    rank: int, world: int, device: torch.device, address: str | None = None, timeout_s: float = TIMEOUT_S
) -> Iterator[Peers]:
    """The peers of this process, while the block runs. All ranks enter it, and leave it together unless one fails.

    Args:
        rank: of this process, in [0, world).
        world: number of processes; with 1 nothing is started.
        device: of this process; on GPUs each rank has its own.
        address: "host:port" where rank 0 listens; None for what torchrun told torch.
        timeout_s: after which a rank that does not answer is taken for lost.

    Raises:
        StageError: torch was built without this, or no address is known.
        PeerLostError: the others did not come.
    """
    if world == 1:
        yield ALONE
        return
    store = _start(rank, world, device, address, timeout_s)
    try:
        yield Peers(rank, world, store)
    finally:
        distributed.destroy_process_group()


def _start(rank: int, world: int, device: torch.device, address: str | None, timeout_s: float) -> Any:
    if not distributed.is_available():
        raise StageError(
            "this build of torch cannot use several processes for one stage; use one (--gpus-per-stage 1)."
        )
    from torch.distributed.rendezvous import rendezvous

    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    place, patience = f"tcp://{address}" if address else "env://", timedelta(seconds=timeout_s)
    try:
        store = next(rendezvous(place, rank, world, timeout=patience))[0]
        # torchrun's outlives a group, and what the last one wrote must not answer the questions of the next
        store = distributed.PrefixStore(f"group {next(_groups)}", store)  # type: ignore[attr-defined]
        distributed.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=patience)
    except ValueError as error:
        raise StageError(f"rank {rank} of {world} does not know where to meet the others: {error}") from error
    except RuntimeError as error:
        raise PeerLostError(
            f"rank {rank} of {world} did not meet the others at {address or 'the address of torchrun'} within "
            f"{timeout_s:g} s: {str(error).strip().splitlines()[0]}"
        ) from error
    return store


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Consecutive parameters of one type, about BUCKET numbers at a time."""
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        if bucket and (bucket[0].dtype != parameter.dtype or sum(p.numel() for p in bucket) >= BUCKET):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket

"""The admin's V-IPU partitions, and the name of the Lease that stands for each. Pure.

A partition has one Lease, whichever runtimes name it. A server has many addresses, and the admin may write another one
while runs are at work. So a partition is known by its id and, where two servers have partitions of one id, by the name
that the admin gives its server.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from whisper_finetune_api.planning.ipu_layout import PARTITION_SIZES
from whisper_finetune_api.v1alpha1.api_model import ApiModel

#: What becomes of a partition: nobody has it. A run with a Job or a pod has it. A run without them has it. Somebody's
#: Lease that is no run's has it. Nobody has it, and something keeps it all the same.
PartitionUse = Literal["free", "held", "idle", "reserved", "kept"]
PARTITION_USES: tuple[PartitionUse, ...] = get_args(PartitionUse)
_HASH_LENGTH = 8
#: A Lease's name is a label of pods too, which has at most 63 characters.
_ID_LENGTH = 40


@dataclass(frozen=True)
class PoolPartition:
    """A partition as a run gets it."""

    id: str
    ipus: int
    api_host: str
    api_port: int
    #: Its index in the runtime's pool, from 0.
    index: int
    #: The admin's name of the V-IPU server. Empty where there is only one.
    server: str = ""

    @cached_property
    def lease_name(self) -> str:
        """Return the name of its Lease.

        It is made of the server's name and the id alone, because two runtimes may share it.
        """
        digest = hashlib.sha256(f"{self.server}/{self.id}".encode()).hexdigest()[:_HASH_LENGTH]
        return f"{_readable_of(self.id)}-{digest}"

    @property
    def host(self) -> str:
        """Return the host in one spelling: in lower case, without a final dot."""
        return self.api_host.lower().rstrip(".")


@dataclass(frozen=True)
class Inventory:
    """The partitions of all pools."""

    members: tuple[PoolPartition, ...] = ()

    @cached_property
    def names(self) -> frozenset[str]:
        """Return the names of their Leases."""
        return frozenset(partition.lease_name for partition in self.members)

    def kept_by(self, lease_name: str) -> frozenset[str]:
        """Return the names of the Leases that may not be taken while somebody has the one of that name.

        A name that the file does not lead to, from an earlier file or version, keeps all partitions of its id.
        """
        if lease_name in self.names:
            return frozenset({lease_name})
        return frozenset({lease_name, *(name for name in self.names if _readable(name) == _readable(lease_name))})


NO_PARTITIONS = Inventory()


def is_lease_name_for(lease_name: str, partition_id: str) -> bool:
    """Return whether a Lease of that name, whichever server's it is, stands for a partition of that id."""
    return _readable(lease_name) == _readable_of(partition_id)


def _readable(lease_name: str) -> str:
    return lease_name.rpartition("-")[0]


def _readable_of(partition_id: str) -> str:
    readable = re.sub(r"[^a-z0-9]+", "-", partition_id.lower())[:_ID_LENGTH].strip("-")
    return f"partition-{readable}"


class Partition(ApiModel):
    """A V-IPU partition that the admin has made."""

    id: str = Field(
        pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        max_length=63,
        description="Its id on the V-IPU server.",
    )
    ipus: Literal[1, 2, 4, 8, 16, 32, 64] = Field(description="How many IPUs it has.")


class Partitions(ApiModel):
    """Partitions that all runs share, one run at a time on each."""

    server: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        max_length=63,
        description="Your name of the V-IPU server, where several have partitions of one id, or one has several hosts.",
    )
    api_host: str = Field(min_length=1, description="Host of the V-IPU server.")
    api_port: int = Field(8090, ge=1, le=65535, description="Port of the V-IPU server.")
    pool: tuple[Partition, ...] = Field(min_length=1, description="The partitions.")

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        if re.fullmatch(r"[^:]*:[0-9]+", self.api_host):
            raise ValueError(f"apiHost {self.api_host}: write the port as apiPort")
        ids = [partition.id for partition in self.pool]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"two partitions of the pool are called {', '.join(twice)}")
        return self

    @cached_property
    def members(self) -> tuple[PoolPartition, ...]:
        """Return the partitions in the order of the file."""
        return tuple(
            PoolPartition(partition.id, partition.ipus, self.api_host, self.api_port, index, self.server or "")
            for index, partition in enumerate(self.pool)
        )

    def fitting(self, ipus: int) -> tuple[PoolPartition, ...]:
        """Return those with so many IPUs or more, the smallest first.

        All who ask for the same number get the same tuple.
        """
        return next((fitting for size, fitting in self.by_size.items() if size >= ipus), ())

    @cached_property
    def by_size(self) -> dict[int, tuple[PoolPartition, ...]]:
        """Return those with so many IPUs or more, by that number, ascending."""
        ordered = sorted(self.members, key=lambda partition: (partition.ipus, partition.index))
        return {size: tuple(each for each in ordered if each.ipus >= size) for size in PARTITION_SIZES}


def doubtful_ids(members: Iterable[PoolPartition]) -> list[str]:
    """Return the ids of which the file does not say whether they stand for one partition or for two."""
    first: dict[str, PoolPartition] = {}
    return sorted({each.id for each in members if _is_doubtful(first.setdefault(each.id, each), each)})


def _is_doubtful(one: PoolPartition, other: PoolPartition) -> bool:
    at_one_place = (one.host, one.api_port) == (other.host, other.api_port)
    if one.server == other.server:
        return not one.server and one.host != other.host
    return not (one.server and other.server) or at_one_place

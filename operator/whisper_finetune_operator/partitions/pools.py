"""The admin's V-IPU partitions, and the Lease that stands for each: one per partition, whichever runtime names it."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from whisper_finetune_api.v1alpha1.model import ApiModel

_HASH_LENGTH = 8
#: A Lease's name is a label of pods too: 63 characters.
_ID_LENGTH = 40


@dataclass(frozen=True)
class PoolPartition:
    """A partition as a run gets it."""

    id: str
    ipus: int
    api_host: str
    api_port: int
    #: In the runtime's pool, from 0.
    place: int

    @cached_property
    def lease_name(self) -> str:
        """Return the name of its Lease: by the V-IPU server and the id alone, for two runtimes may share it."""
        digest = hashlib.sha256(f"{self.api_host.lower()}/{self.id}".encode()).hexdigest()[:_HASH_LENGTH]
        readable = re.sub(r"[^a-z0-9]+", "-", self.id.lower())[:_ID_LENGTH].strip("-")
        return f"partition-{readable}-{digest}"


class Partition(ApiModel):
    """A V-IPU partition that the admin has made."""

    id: str = Field(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=63)
    ipus: Literal[1, 2, 4, 8, 16, 32, 64]


class Partitions(ApiModel):
    """Partitions that all runs share, one run at a time on each."""

    api_host: str = Field(min_length=1, description="Of the V-IPU server.")
    api_port: int = Field(8090, ge=1, le=65535)
    pool: tuple[Partition, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        ids = [partition.id for partition in self.pool]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"two partitions of the pool are called {', '.join(twice)}")
        return self

    @cached_property
    def members(self) -> tuple[PoolPartition, ...]:
        """Return the partitions in the order of the file."""
        return tuple(
            PoolPartition(partition.id, partition.ipus, self.api_host, self.api_port, place)
            for place, partition in enumerate(self.pool)
        )

    def fitting(self, ipus: int) -> tuple[PoolPartition, ...]:
        """Return those with so many IPUs or more, the smallest first."""
        enough = (partition for partition in self.members if partition.ipus >= ipus)
        return tuple(sorted(enough, key=lambda partition: (partition.ipus, partition.place)))

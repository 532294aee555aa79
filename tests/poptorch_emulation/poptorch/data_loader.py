"""PopTorch's DataLoader. One item is the batch of a whole call, and an incomplete batch is dropped."""

from typing import Any, Optional

import torch

from poptorch import batches
from poptorch.enums import DataLoaderMode
from poptorch.options import Options


class DataLoader(torch.utils.data.DataLoader):
    """A loader of batches of `batch_size` x device iterations x replicas x gradient accumulation."""

    def __init__(
        self,
        options: Options,
        dataset: Any,
        batch_size: int = 1,
        shuffle: Optional[bool] = None,
        num_workers: int = 0,
        drop_last: bool = True,
        persistent_workers: Optional[bool] = None,
        auto_distributed_partitioning: bool = True,
        mode: DataLoaderMode = DataLoaderMode.Sync,
        async_options: Any = None,
        rebatched_worker_size: Optional[int] = None,
        **keywords: Any,
    ) -> None:
        if not isinstance(options, Options):
            raise AssertionError("options must be poptorch.Options")  # noqa: TRY004 -- what PopTorch raises
        options.freeze()
        self._poptorch_options = options
        self._combined_batch_size = batch_size * batches.parts_per_batch(options)
        super().__init__(
            dataset,
            batch_size=self._combined_batch_size,
            shuffle=bool(shuffle),
            num_workers=num_workers,
            drop_last=drop_last,
            persistent_workers=num_workers > 0 if persistent_workers is None else persistent_workers,
            **keywords,
        )

    @property
    def combinedBatchSize(self) -> int:
        return self._combined_batch_size

    @property
    def options(self) -> Options:
        return self._poptorch_options

    def terminate(self) -> None:
        """Do nothing: the emulation reads in the foreground."""

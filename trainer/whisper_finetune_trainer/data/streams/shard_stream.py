"""The rows of a split's shards as a stream, with their sounds. The order is a function of a key.

A few shards are read in turns, one row of each. A shard is read once, from its start to its end. From any position the
stream goes on without reading what is before it.
"""

import logging
import random
from dataclasses import dataclass, replace
from typing import Any, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.clips import Drop
from whisper_finetune_trainer.data.layouts.layout import ShardReader, SplitFiles
from whisper_finetune_trainer.data.layouts.row_columns import Row
from whisper_finetune_trainer.data.layouts.split_files import Split
from whisper_finetune_trainer.messages.errors import TrainerError

logger = logging.getLogger(__name__)


class LanePosition(NamedTuple):
    """The position of a lane: the number of its current shard among the lane's shards, and the byte or row in it."""

    shard: int
    at: int


@dataclass(frozen=True)
class Position:
    """The position of a stream: that of each lane, and the lane whose turn it is. Without lanes it is the beginning."""

    lanes: Tuple[LanePosition, ...] = ()
    turn: int = 0

    def values(self) -> Mapping[str, Any]:
        """Return JSON values for `of_values`."""
        return {"lanes": [list(position) for position in self.lanes], "turn": self.turn}

    @staticmethod
    def of_values(values: Mapping[str, Any]) -> "Position":
        """Return the position that `values` returned these for."""
        return Position(tuple(LanePosition(*position) for position in values["lanes"]), values["turn"])


class StreamedRow(NamedTuple):
    """A row with the split that it belongs to and the position after it. `fault` is set if its shard is broken here."""

    split: Split
    row: Row
    fault: Optional[Drop]
    after: Position


@dataclass(frozen=True)
class ShardStream:
    """Reads the shards of a split in `lanes` lanes. `split` has their columns."""

    files: SplitFiles
    reader: ShardReader
    split: Split
    lanes: int

    def rows(self, key: str, start: Position) -> Iterator[StreamedRow]:
        """Yield all rows from a position on. The order is a function of the key and the shards."""
        lanes = self._lanes(key)
        positions = list(start.lanes) or [LanePosition(0, 0)] * len(lanes)
        readers: List[Optional[Iterator[_Read]]] = [self._lane(*pair) for pair in zip(lanes, positions)]
        turn = start.turn
        while any(readers):
            lane, turn = turn, (turn + 1) % len(lanes)
            reader = readers[lane]
            found = next(reader, None) if reader else None
            if found is None:
                readers[lane] = None
                continue
            positions[lane] = found.after
            yield StreamedRow(found.split, found.row, found.fault, Position(tuple(positions), turn))

    def _lanes(self, key: str) -> List[Sequence[str]]:
        order = list(self.files.paths)
        random.Random(key).shuffle(order)  # noqa: S311 -- nothing secret
        count = min(self.lanes, len(order))
        return [order[lane::count] for lane in range(count)]

    def _lane(self, paths: Sequence[str], start: LanePosition) -> "Iterator[_Read]":
        at = start.at
        for number in range(start.shard, len(paths)):
            split = replace(self.split, name=paths[number], unit=self.reader.position_unit)
            try:
                for row, after in self._shard(paths[number], at):
                    yield _Read(split, row, None, LanePosition(number, after))
            except TrainerError as error:
                if error.reason != "DatasetInvalid":
                    raise
                logger.warning("the rest of a shard is left out: %s", error.message)
                yield _Read(split, Row(0, {}), Drop("broken shard", error.message), LanePosition(number + 1, 0))
            at = 0

    def _shard(self, path: str, start: int) -> Iterator[Tuple[Row, int]]:
        folder = self.files.folder
        with source_files.store_refusals_explained(folder.file(path)):
            yield from self.reader.rows_with_sound(folder, path, self.split.columns, start)


class _Read(NamedTuple):
    """A row of a lane with the lane's position after it. `fault` is set if its shard is broken here."""

    split: Split
    row: Row
    fault: Optional[Drop]
    after: LanePosition

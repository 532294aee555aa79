"""The queue of the runs that wait for a partition: the oldest first, and no run is passed that could use a free one."""

import random
from datetime import timedelta

import pytest

from run_objects import START
from whisper_finetune_operator.deciding import partition_steps
from whisper_finetune_operator.partitions.partition_queue import PartitionQueue, QueuedRun
from whisper_finetune_operator.partitions.pools import Inventory, Partition, Partitions

POOL = Partitions(
    api_host="10.5.1.1",
    pool=(
        Partition(id="p8", ipus=8),
        Partition(id="p4a", ipus=4),
        Partition(id="p4b", ipus=4),
        Partition(id="p16", ipus=16),
    ),
)
LEASES = {partition.id: partition.lease_name for partition in POOL.members}


def waiting(name: str, ipus: int, age: int, pool: Partitions = POOL) -> QueuedRun:
    """Return a run that was created so many seconds before the others' start."""
    return QueuedRun(name, (START - timedelta(seconds=age), "speech", name), ipus, pool.fitting(ipus))


def line(*runs: QueuedRun, taken: tuple[str, ...] = ()) -> PartitionQueue:
    made = PartitionQueue({}, frozenset(LEASES[name] for name in taken))
    for run in runs:
        made = made.joined_by(run)
    return made


def turns(found: PartitionQueue) -> dict[str, str]:
    return {uid: partition.id for uid, partition in found.turns.items()}


@pytest.mark.parametrize(
    ("runs", "taken", "expected"),
    [
        pytest.param([("a", 4, 1)], (), {"a": "p4a"}, id="smallest that fits, in the admin's order"),
        pytest.param([("a", 2, 1)], (), {"a": "p4a"}, id="fewer IPUs than any partition has"),
        pytest.param([("a", 4, 1)], ("p4a", "p4b"), {"a": "p8"}, id="larger where the smaller ones are taken"),
        pytest.param([("a", 16, 1)], ("p16",), {}, id="none"),
        pytest.param([("a", 4, 1), ("b", 4, 2)], ("p4a", "p8", "p16"), {"b": "p4b"}, id="oldest first"),
        pytest.param([("a", 4, 5), ("b", 16, 9)], ("p4a", "p4b", "p8"), {"b": "p16"}, id="large ones do not starve"),
        pytest.param([("a", 4, 5), ("b", 16, 9)], ("p16",), {"a": "p4a"}, id="passed by what cannot be used"),
        pytest.param(
            [("a", 4, 4), ("b", 4, 3), ("c", 4, 2), ("d", 8, 1)],
            (),
            {"a": "p4a", "b": "p4b", "c": "p8", "d": "p16"},
            id="each one its own",
        ),
    ],
)
def test_whose_turn_it_is(runs: list[tuple[str, int, int]], taken: tuple[str, ...], expected: dict[str, str]) -> None:
    assert turns(line(*(waiting(*run) for run in runs), taken=taken)) == expected


def test_places_are_those_among_the_runs_that_could_take_the_same() -> None:
    everything = tuple(LEASES)
    found = line(waiting("a", 16, 9), waiting("b", 4, 8), waiting("c", 4, 7), taken=everything)
    assert [found.position_of(run) for run in found.in_order()] == [(1, 3), (2, 3), (3, 3)]
    apart = Partitions(api_host="10.5.1.2", pool=(Partition(id="p4", ipus=4),))
    found = found.joined_by(waiting("d", 4, 99, apart))
    found = PartitionQueue(found.lines, found.taken | {apart.members[0].lease_name})
    positions = {run.uid: found.position_of(run) for run in found.in_order()}
    assert positions == {"a": (1, 3), "b": (2, 3), "c": (3, 3), "d": (1, 1)}


def test_who_is_about_to_take_one_waits_no_longer() -> None:
    behind = waiting("b", 4, 8)
    found = line(waiting("a", 4, 9), behind, taken=("p4a", "p8", "p16"))
    assert turns(found) == {"a": "p4b"}
    assert found.position_of(behind) == (1, 1)


def test_runs_of_the_same_second_stand_by_their_names() -> None:
    assert [run.uid for run in line(waiting("b", 4, 1), waiting("a", 4, 1)).in_order()] == ["a", "b"]


def test_a_run_joins_once() -> None:
    once = line(waiting("a", 4, 1))
    assert once.joined_by(waiting("a", 4, 1)) is once


def test_two_runtimes_share_a_partition_by_its_id_unless_their_servers_have_names() -> None:
    other = Partitions(api_host="Vipu.example.", api_port=9000, pool=(Partition(id="p4b", ipus=4),))
    assert other.members[0].lease_name == LEASES["p4b"]
    elsewhere = Partitions(server="annexe", api_host="10.5.1.2", pool=(Partition(id="p4b", ipus=4),))
    assert elsewhere.members[0].lease_name != LEASES["p4b"]
    found = line(waiting("a", 4, 2, other), waiting("b", 4, 1), taken=("p4a",))
    assert turns(found) == {"a": "p4b", "b": "p8"}


def test_a_name_that_the_file_does_not_lead_to_keeps_every_partition_of_its_id() -> None:
    annexe = Partitions(server="annexe", api_host="10.5.1.2", pool=(Partition(id="p4b", ipus=4),))
    inventory = Inventory((*POOL.members, *annexe.members))
    here, there = LEASES["p4b"], annexe.members[0].lease_name
    assert inventory.kept_by(here) == {here}
    assert inventory.kept_by("partition-p4b-0badcafe") == {here, there, "partition-p4b-0badcafe"}
    assert inventory.kept_by("somebody-s") == {"somebody-s"}


@pytest.mark.parametrize("name", ["P4_a.1", "-".join(["p"] * 30), "x" * 63])
def test_the_lease_of_any_id_is_a_label(name: str) -> None:
    lease = Partitions(api_host="10.5.1.1", pool=(Partition.model_construct(id=name, ipus=4),)).members[0].lease_name
    assert len(lease) <= 63
    assert lease.replace("-", "").isalnum()
    assert lease == lease.lower()


@pytest.mark.parametrize("seed", range(200))
def test_in_any_line_nobody_is_passed_and_nothing_is_given_twice(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 (no secret)
    runs = [waiting(f"run-{number}", chance.choice([1, 2, 4, 8, 16]), chance.randrange(99)) for number in range(30)]
    taken = tuple(name for name in LEASES if chance.random() < 0.5)
    found = line(*chance.sample(runs, chance.randrange(30)), taken=taken)
    given = list(found.turns.values())
    assert len({partition.lease_name for partition in given}) == len(given)
    assert not {partition.lease_name for partition in given} & found.taken
    for run in found.in_order():
        before = {
            found.turns[older.uid].lease_name
            for older in found.in_order()
            if older.since < run.since and older.uid in found.turns
        }
        free = [partition for partition in run.fitting if partition.lease_name not in found.taken | before]
        assert found.turns.get(run.uid) == (free[0] if free else None)


@pytest.mark.parametrize(
    ("position", "waiting", "words"),
    [
        (1, 1, "1st of 1"),
        (20, 20, "20th of 20"),
        (3, 21, "3rd of 20 or more"),
        (20, 3_999, "20th of 3,000 or more"),
        (21, 4_000, "behind 20 or more, of 4,000 or more"),
        (301, 4_000, "behind 300 or more, of 4,000 or more"),
    ],
)
def test_a_position_is_exact_where_few_wait_and_round_far_behind(position: int, waiting: int, words: str) -> None:
    assert partition_steps.describe_position(position, waiting) == words


def test_a_run_that_comes_or_goes_changes_the_words_of_few_of_thousands() -> None:
    before, come, gone = map(words_of_all, (4_050, 4_051, 4_049))
    assert come[:-1] == before
    assert sum(now != then for now, then in zip(gone, before[1:], strict=True)) < 50


def words_of_all(waiting: int) -> list[str]:
    return [partition_steps.describe_position(position, waiting) for position in range(1, waiting + 1)]

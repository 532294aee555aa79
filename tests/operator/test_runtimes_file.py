"""The admin's file that changes while the operator works."""

from pathlib import Path

import pytest

from run_objects import run_object
from whisper_finetune_operator.deciding import partition_steps
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.planning import runtimes
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.watching.partition_book import PartitionBook
from whisper_finetune_operator.watching.runtimes_file import RuntimesFile

CPU = "{name: cpu, accelerator: cpu, image: 'trainer:1'}"
OTHER = "{name: other, accelerator: cpu, image: 'trainer:2'}"
CARDS = "{name: eidf, accelerator: ipu, image: 'trainer:1', workload: IPUJob, namespaces: [speech]}"


class Admin:
    """The file in a folder, and what the operator makes of it."""

    def __init__(self, folder: Path, *offered: str) -> None:
        self.path, self.told, self.metrics = folder / "runtimes.yaml", list[str](), Metrics()
        self.write(*offered)
        self.file = RuntimesFile(self.path, runtimes.load_runtimes(self.path), self.metrics, self.told.append)

    def write(self, *offered: str) -> None:
        self.path.write_text(f"runtimes: [{', '.join(offered)}]\n", encoding="utf-8")

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.file.current().runtimes]

    @property
    def is_valid(self) -> bool:
        return b"wft_runtimes_file_valid 1.0" in self.metrics.text()


def test_a_file_that_has_not_changed_is_no_news(tmp_path: Path) -> None:
    admin = Admin(tmp_path, CPU)
    assert not admin.file.read_again()
    admin.path.write_text(f"# a comment\nruntimes: [{CPU}]\n", encoding="utf-8")
    assert not admin.file.read_again()
    assert admin.is_valid


def test_a_changed_file_counts_at_once(tmp_path: Path) -> None:
    admin = Admin(tmp_path, CPU)
    admin.write(CPU, OTHER)
    assert admin.file.read_again()
    assert admin.names == ["cpu", "other"]


def test_a_bad_file_changes_nothing_and_is_told_once_until_it_is_mended(tmp_path: Path) -> None:
    admin = Admin(tmp_path, CPU)
    admin.write(CPU, "{name: gpu}")
    assert not admin.file.read_again()
    assert not admin.file.read_again()
    assert (admin.names, admin.is_valid, len(admin.told)) == (["cpu"], False, 1)
    assert "runtimes.1.image: Field required" in admin.told[0]
    admin.path.unlink()
    assert not admin.file.read_again()
    assert "cannot be read" in admin.told[1]
    admin.write(CPU)
    assert not admin.file.read_again()
    assert admin.is_valid
    admin.write(CPU, "{name: gpu}")
    admin.file.read_again()
    assert len(admin.told) == 3


def test_a_kind_of_workload_that_is_not_watched_needs_a_restart(tmp_path: Path) -> None:
    admin = Admin(tmp_path, CPU)
    admin.write(CPU, CARDS)
    assert not admin.file.read_again()
    assert "it does not watch them; restart it to take this file" in admin.told[0]
    again = Admin(tmp_path, CPU, CARDS)
    again.write(CPU)
    assert again.file.read_again()
    again.write(CPU, CARDS)
    assert again.file.read_again()


def pool(*partitions: str) -> Runtimes:
    members = [{"id": each, "ipus": 4} for each in partitions]
    plain = {
        "name": "pod16",
        "accelerator": "ipu",
        "image": "trainer:1",
        "partitions": {"apiHost": "10.5.1.1", "pool": members},
    }
    return Runtimes.model_validate({"defaultRuntime": "pod16", "runtimes": [plain]})


@pytest.fixture
def waiting() -> Run:
    return Run.from_object(run_object())


def test_a_pool_that_grows_gives_the_first_in_the_queue_its_turn(waiting: Run) -> None:
    offered = pool("p4a")
    book = PartitionBook(lambda run: partition_steps.queue_entry_of(run, offered), offered.inventory)
    book.note_run(waiting)
    (only,) = offered.inventory.members
    book.put_lease({"metadata": {"name": only.lease_name, "uid": "lease", "resourceVersion": "1"}, "spec": {}})
    assert not book.queue().turns
    offered = pool("p4a", "p4b")
    book.offer(offered.inventory, [waiting])
    assert [each.id for each in book.queue().turns.values()] == ["p4b"]


def test_a_pool_that_shrinks_keeps_what_is_leased_and_gives_no_more_of_it(waiting: Run) -> None:
    offered = pool("p4a", "p4b")
    book = PartitionBook(lambda run: partition_steps.queue_entry_of(run, offered), offered.inventory)
    book.note_run(waiting)
    first, second = offered.inventory.members
    book.put_lease({"metadata": {"name": first.lease_name, "uid": "lease", "resourceVersion": "1"}, "spec": {}})
    assert [each.id for each in book.queue().turns.values()] == [second.id]
    offered = pool("p4a")
    book.offer(offered.inventory, [waiting])
    assert not book.queue().turns
    assert book.lease(first.lease_name) is not None
    offered = pool("p4b")
    book.offer(offered.inventory, [waiting])
    assert [each.id for each in book.queue().turns.values()] == [second.id]

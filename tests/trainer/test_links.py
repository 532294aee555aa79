"""Nothing outside of a claim is read, wherever a link leads. Links inside of the claim are followed."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

import clip_loading
import data_layouts
from data_layouts import LAYOUTS
from layout_checks import check, config, load, refusal
from whisper_finetune_trainer.data.source_files import DataFolder
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.output.volume_storage import VolumeStorage
from whisper_finetune_trainer.stores import volumes
from whisper_finetune_trainer.stores.volumes import Mount

#: Stands at the beginning of every file outside, where each reader looks first.
SECRET = "aws_secret_access_key=S3CR3T-OF-ANOTHER-CLAIM"  # noqa: S105 (a marker)
LEADS_OUTSIDE = "leads outside of claim speech"

layouts = pytest.mark.parametrize("write", LAYOUTS.values(), ids=LAYOUTS.keys())


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    folder = tmp_path / "claim"
    folder.mkdir()
    return folder


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _said_of(claim: Path) -> str:
    """Return what is said of a data set that is refused, or of the clips of it that are left out."""
    try:
        found = load(claim, maxDroppedFraction="0.9")
    except TrainerError as error:
        return f"{error.reason}: {error.message}"
    assert set(found.dropped) == {"path outside of the source"}
    return " ".join(found.examples)


@layouts
def test_no_file_of_a_layout_is_read_through_a_link_out_of_the_claim(
    tmp_path: Path, claim: Path, write: Callable[[Path], None]
) -> None:
    outside = tmp_path / "other-claim"
    outside.write_text(f"{SECRET},{SECRET}\n{SECRET}\n", encoding="utf-8")
    write(tmp_path / "written")
    one_of_each_kind = {path.suffix or path.name: path for path in reversed(_files(tmp_path / "written"))}
    for place in one_of_each_kind.values():
        shutil.rmtree(claim / "clips", ignore_errors=True)
        shutil.copytree(tmp_path / "written", claim / "clips")
        linked = claim / "clips" / place.relative_to(tmp_path / "written")
        linked.unlink()
        linked.symlink_to(outside)
        said = _said_of(claim)
        assert LEADS_OUTSIDE in said, (linked, said)
        assert "S3CR3T" not in said


@layouts
def test_links_inside_of_a_claim_are_followed(claim: Path, write: Callable[[Path], None]) -> None:
    write(claim / "clips")
    (claim / "kept").mkdir()
    for number, path in enumerate(_files(claim / "clips")):
        path.rename(claim / "kept" / str(number))
        path.symlink_to(os.path.relpath(claim / "kept" / str(number), path.parent))
    check(load(claim))


@layouts
def test_a_claim_may_be_a_link_itself(tmp_path: Path, claim: Path, write: Callable[[Path], None]) -> None:
    write(claim / "clips")
    (tmp_path / "linked").symlink_to(claim)
    check(load(tmp_path / "linked"))


def _to_the_environment(link: Path, _outside: Path) -> None:
    link.symlink_to("/proc/self/environ")


def _upwards(link: Path, outside: Path) -> None:
    link.symlink_to(os.path.relpath(outside, link.parent))


def _by_a_chain(link: Path, outside: Path) -> None:
    (link.parent / "first").symlink_to(outside)
    (link.parent / "second").symlink_to("first")
    link.symlink_to("second")


def _by_a_process(link: Path, outside: Path) -> None:
    link.symlink_to(f"/proc/self/root{outside}")


def _by_a_linked_folder(link: Path, outside: Path) -> None:
    (link.parent / "folder").symlink_to(outside.parent)
    link.symlink_to(f"folder/{outside.name}")


def _to_a_pipe(link: Path, outside: Path) -> None:
    os.mkfifo(outside.parent / "pipe")
    link.symlink_to(outside.parent / "pipe")


def _to_a_device(link: Path, _outside: Path) -> None:
    link.symlink_to("/dev/zero")


WAYS = (
    _to_the_environment,
    _upwards,
    _by_a_chain,
    _by_a_process,
    _by_a_linked_folder,
    _to_a_pipe,
    _to_a_device,
)


@pytest.mark.parametrize("name", ["train.csv", "train.tsv", "train.jsonl", "train.json", "train.tar", "train.parquet"])
@pytest.mark.parametrize("lead", WAYS)
def test_every_way_out_is_refused(tmp_path: Path, claim: Path, lead: Callable[[Path, Path], None], name: str) -> None:
    outside = tmp_path / "other-claim"
    outside.write_text(SECRET, encoding="utf-8")
    (claim / "clips").mkdir()
    lead(claim / "clips" / name, outside)
    error = refusal(claim)
    assert (error.reason, LEADS_OUTSIDE in error.message) == ("DatasetInvalid", True), error.message
    assert "S3CR3T" not in error.message


@pytest.mark.parametrize("name", ["wav.scp", "text", "segments"])
@pytest.mark.parametrize("lead", WAYS)
def test_every_way_out_of_a_kaldi_folder_is_refused(
    tmp_path: Path, claim: Path, lead: Callable[[Path, Path], None], name: str
) -> None:
    outside = tmp_path / "other-claim"
    outside.write_text(SECRET, encoding="utf-8")
    data_layouts.kaldi_segments(claim / "clips")
    linked = claim / "clips/data/train" / name
    linked.unlink()
    lead(linked, outside)
    error = refusal(claim)
    assert LEADS_OUTSIDE in error.message
    assert "S3CR3T" not in error.message


def test_a_folder_of_sounds_that_is_a_link_out_of_the_claim_is_not_read(tmp_path: Path, claim: Path) -> None:
    data_layouts.nemo(claim / "clips")
    (claim / "clips/wavs").rename(tmp_path / "wavs")
    (claim / "clips/wavs").symlink_to(tmp_path / "wavs")
    error = refusal(claim)
    assert "path outside of the source 10" in error.message
    assert LEADS_OUTSIDE in error.message


@pytest.mark.parametrize("place", ["clips", "clips/train"])
def test_a_source_that_is_a_link_out_of_its_claim_is_refused(tmp_path: Path, claim: Path, place: str) -> None:
    data_layouts.audiofolder_csv(tmp_path / "elsewhere")
    (claim / place).parent.mkdir(exist_ok=True)
    (claim / place).symlink_to(tmp_path / "elsewhere" / Path(place).relative_to("clips"))
    error = refusal(claim)
    assert (error.reason, LEADS_OUTSIDE in error.message) == ("DatasetInvalid", True)


def test_another_claim_of_the_run_is_outside_too(tmp_path: Path, claim: Path) -> None:
    (tmp_path / "runs").mkdir()
    data_layouts.audiofolder_csv(tmp_path / "runs/secret")
    (claim / "clips").symlink_to(tmp_path / "runs/secret")
    both = config(claim, "pvc://speech/clips")
    both = both.model_copy(update={"volumes": {**both.volumes, "runs": str(tmp_path / "runs")}})
    with pytest.raises(TrainerError, match=LEADS_OUTSIDE):
        clip_loading.load_clips(both)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    # Its address has room for 107 bytes, and the folders of a test may have longer names.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


@pytest.mark.parametrize("make", [_pipe, _socket])
def test_what_is_no_plain_file_is_refused_and_not_waited_for(claim: Path, make: Callable[[Path], None]) -> None:
    data_layouts.nemo(claim / "clips")
    manifest, sound = claim / "clips/train_manifest.json", claim / "clips/wavs/clip-03.wav"
    sound.unlink()
    make(sound)
    found = load(claim, maxDroppedFraction="0.5")
    assert dict(found.dropped) == {"unreadable audio": 1}
    manifest.unlink()
    make(manifest)
    assert refusal(claim).reason == "DatasetInvalid"


def test_a_link_that_takes_the_place_of_a_file_after_the_look_is_not_followed(tmp_path: Path, claim: Path) -> None:
    (claim / "folder").mkdir()
    (claim / "folder/file").write_text("mine", encoding="utf-8")
    (tmp_path / "file").write_text(SECRET, encoding="utf-8")
    path = Mount(str(claim), "claim speech").resolve(str(claim / "folder/file"))
    shutil.rmtree(claim / "folder")
    (claim / "folder").symlink_to(tmp_path)
    with pytest.raises(TrainerError, match="was replaced by a link"):
        volumes.open_plain(path)


@pytest.mark.parametrize("uri", ["pvc://runs/out", "pvc://runs/out/it"])
def test_an_output_that_is_a_link_out_of_its_claim_is_refused(tmp_path: Path, claim: Path, uri: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (claim / "out").symlink_to(tmp_path / "elsewhere")
    base = config(claim, "pvc://speech/clips")
    base = base.model_copy(update={"volumes": {**base.volumes, "runs": str(claim)}})
    with pytest.raises(TrainerError, match="leads outside of claim runs") as caught:
        volumes.local_path(uri, "output.uri", base.volumes)
    assert caught.value.reason == "OutputNotWritable"


def test_what_lies_outside_is_neither_read_nor_written_through_links_in_the_output(tmp_path: Path, claim: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text(SECRET, encoding="utf-8")
    storage = VolumeStorage(claim, writer="demo", mount=Mount(str(claim), "claim runs"))
    (claim / "latest.json").symlink_to(outside / "file")
    (claim / "run").symlink_to(outside)
    (claim / ".new.json.demo.partial").symlink_to(outside / "file")
    for act in (
        lambda: storage.read_bytes("latest.json"),
        lambda: storage.write_bytes("run/result.json", b"{}"),
        lambda: storage.probe("run"),
        lambda: storage.names("run"),
    ):
        with pytest.raises(TrainerError, match="leads outside of claim runs") as caught:
            act()
        assert caught.value.reason == "OutputNotWritable"
    storage.write_bytes("new.json", b"{}")
    storage.write_bytes("latest.json", b"{}")
    storage.remove_folder("run")
    assert (claim / "latest.json").is_symlink() is False
    assert {path.name: path.read_text("utf-8") for path in outside.iterdir()} == {"file": SECRET}
    assert sorted(path.name for path in claim.iterdir()) == ["latest.json", "new.json"]


def test_the_number_of_a_shard_leads_to_no_other_folder(tmp_path: Path, claim: Path) -> None:
    data_layouts.nemo_tarred(claim / "clips")
    manifest = claim / "clips/tarred_audio_manifest.json"
    (claim / "clips/audio_x").mkdir()
    (claim / "clips/audio_1.tar").rename(claim / "audio_1.tar")
    text = manifest.read_text(encoding="utf-8").replace('"shard_id": 1', '"shard_id": "x/../../audio_1"')
    manifest.write_text(text, encoding="utf-8")
    found = load(claim, maxDroppedFraction="0.9")
    assert dict(found.dropped) == {"broken line": 5}


def test_a_folder_is_resolved_once_however_many_files_it_holds(claim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        (claim / f"{number}.wav").touch()
    resolved: list[str] = []
    resolve = Mount.resolve
    monkeypatch.setattr(Mount, "resolve", lambda mount, path: resolved.append(path) or resolve(mount, path))
    folder = DataFolder(LocalFileSystem(), str(claim), "pvc://speech", mount=Mount(str(claim), "claim speech"))
    assert len(folder.names()) == 50
    assert resolved == [str(claim)]

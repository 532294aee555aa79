"""A store of images in a folder of its own. This is the only module that calls buildah."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.faults import ClusterError
from cluster.narration import say
from images import package_settings
from images.recipes import REPOSITORY

LINES_OF_A_FAILURE = 15


class Store:
    """Images and build cache below one folder, separate from the host's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "temporary").mkdir(parents=True, exist_ok=True)
        # buildah's big temporary files and its cache of downloaded packages are below TMPDIR.
        self.environment = {**os.environ, "TMPDIR": str(folder / "temporary"), "BUILDAH_ISOLATION": "chroot"}
        self.driver = "overlay"
        if subprocess.run(self.command("info"), check=False, capture_output=True, env=self.environment).returncode:
            say("the file system takes no overlay: images are copied layer by layer, which is slow and large")
            self.driver = "vfs"

    def command(self, *arguments: str) -> list[str]:
        folders = ["--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run")]
        return ["buildah", *folders, "--storage-driver", self.driver, *arguments]

    def run(self, *arguments: str) -> str:
        command = self.command(*arguments)
        ran = subprocess.run(command, check=False, capture_output=True, text=True, env=self.environment)
        if ran.returncode:
            raise ClusterError(f"`buildah {arguments[0]}` failed: {ran.stderr.strip()}")
        return ran.stdout

    def images(self) -> list[str]:
        """Return the names of the images, with their tags."""
        return self.run("images", "--format", "{{.Name}}:{{.Tag}}").split()

    def remove_leftovers(self) -> None:
        """Remove the working containers and folders of a build that was killed."""
        self.run("rm", "--all")
        for leftover in self.folder.glob("unfinished-*"):
            shutil.rmtree(leftover)

    def remove_images(self) -> None:
        self.remove_leftovers()
        self.run("rmi", "--all", "--force")

    def add_base(self, image: str, root_file_system: Path) -> None:
        """Make an image of one layer from a tar file."""
        dockerfile = root_file_system.with_name("Dockerfile")
        dockerfile.write_text(f"FROM scratch\nADD {root_file_system.name} /\n")
        self.run("build", "--quiet", "--tag", image, "--file", str(dockerfile), str(root_file_system.parent))

    def forget_other_tags(self, image: str) -> None:
        """Remove the images that this one replaces, and the intermediate images of its build."""
        name, _, _ = image.rpartition(":")
        for other in self.images():
            if other.startswith(f"{name}:") and other != image:
                self.run("rmi", other)
        self.run("rmi", "--prune", "--force")

    def build(self, target: str, image: str, arguments: dict[str, str], log: Path, context: Path = REPOSITORY) -> None:
        """Build a target of the Dockerfile in `context`, and say which step begins."""
        options = ["--layers", "--target", target, "--tag", image]
        options += [f"--build-arg={name}={value}" for name, value in arguments.items()]
        with self.package_secrets() as secrets, log.open("w") as output:
            building = subprocess.Popen(
                self.command("build", *options, *secrets, str(context)),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment,
            )  # fmt: skip
            for line in building.stdout or ():
                output.write(line)
                if re.match(r"\[\d+/\d+\] STEP", line):
                    say(f"  {re.sub(r'--mount=[^ ]+ +', '', line.strip()):.110}")
        if building.wait():
            last_lines = "".join(log.read_text().splitlines(keepends=True)[-LINES_OF_A_FAILURE:])
            raise ClusterError(f"building {image} failed; all of it is in {log}, which ends with\n{last_lines}")

    @contextmanager
    def working_folder(self) -> Iterator[Path]:
        """Yield a temporary folder that only its owner may read."""
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=self.folder) as folder:
            yield Path(folder)

    @contextmanager
    def package_secrets(self) -> Iterator[list[str]]:
        """Yield options that give the host's package settings to a build. The image does not keep them."""
        authorities = package_settings.certificate_authorities(os.environ)
        with self.working_folder() as folder:
            settings = folder / "pip.conf"
            settings.write_text(package_settings.pip_configuration(os.environ, authorities))
            secrets = [f"--secret=id=pip.conf,src={settings}"]
            yield secrets + ([f"--secret=id=ca-bundle,src={authorities}"] if authorities else [])

    def write_archive(self, image: str, archive: Path) -> None:
        """Write the image without compression, which is several times faster. A killed attempt leaves no archive."""
        unfinished = archive.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        self.run("push", "--quiet", image, f"docker-archive:{unfinished}:{image}")
        unfinished.rename(archive)

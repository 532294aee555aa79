"""The one module that calls buildah: a store of images in a folder of our own."""

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
    """Images and build cache below one folder, apart from the host's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "temporary").mkdir(parents=True, exist_ok=True)
        # Its big temporary files and the cache of downloaded packages follow TMPDIR.
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
        """Each name with its tag."""
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
        """Remove the images that this one replaces, and every step on the way to it."""
        name, _, _ = image.rpartition(":")
        for other in self.images():
            if other.startswith(f"{name}:") and other != image:
                self.run("rmi", other)
        self.run("rmi", "--prune", "--force")

    def build(self, target: str, image: str, arguments: dict[str, str], log: Path, context: Path = REPOSITORY) -> None:
        """Build a target of the Dockerfile in `context`, saying each step as it begins."""
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
        """Lend a folder, readable by its owner alone."""
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=self.folder) as folder:
            yield Path(folder)

    @contextmanager
    def package_secrets(self) -> Iterator[list[str]]:
        """Lend the host's way to packages to a build, which sees nothing of the host; the image keeps none of it."""
        authorities = package_settings.certificate_authorities(os.environ)
        with self.working_folder() as folder:
            settings = folder / "pip.conf"
            settings.write_text(package_settings.pip_configuration(os.environ, authorities))
            secrets = [f"--secret=id=pip.conf,src={settings}"]
            yield secrets + ([f"--secret=id=ca-bundle,src={authorities}"] if authorities else [])

    def write_archive(self, image: str, archive: Path) -> None:
        """Write the image uncompressed, which is several times faster; a killed attempt leaves no archive."""
        unfinished = archive.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        self.run("push", "--quiet", image, f"docker-archive:{unfinished}:{image}")
        unfinished.rename(archive)

"""The secrets of a trainer's environment are variables for libraries, and in no file of the system."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from repository import ROOT
from whisper_finetune_trainer.entrypoints import secret_environment

#: In the place of the trainer's own module, so that no training is needed to look at its environment.
_PROGRAM = """
import os, sys
from whisper_finetune_trainer.entrypoints import secret_environment
secret_environment.hide_secrets(sys.argv[1:])
shown = open("/proc/self/environ", "rb").read().decode()
print(os.getpid(), sys.argv[1:], os.environ.get("HF_TOKEN"), os.environ.get("AWS_SECRET_ACCESS_KEY"))
print(sorted(name for name in os.environ if "SECRETS" in name), len(os.listdir("/proc/self/fd")))
print(shown)
"""


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="this system has no /proc")
def test_secrets_are_variables_of_the_process_and_not_in_its_environ_file(tmp_path: Path) -> None:
    package = tmp_path / "whisper_finetune_trainer"
    package.mkdir()
    own = ROOT / "trainer/whisper_finetune_trainer"
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "__main__.py").write_text(_PROGRAM, encoding="utf-8")
    for name in ("entrypoints/secret_environment.py", "messages/redaction.py"):
        (package / name).parent.mkdir()
        (package / Path(name).parent / "__init__.py").write_text("", encoding="utf-8")
        (package / name).write_text((own / name).read_text("utf-8"), encoding="utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(tmp_path),
        "PLAIN": "1",
        "HF_TOKEN": "hf_TOPSECRET",
        "AWS_SECRET_ACCESS_KEY": "S3CR3T\nwith a second line",
    }
    command = [sys.executable, "-m", "whisper_finetune_trainer", "run", "a b.yaml"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    first, second, *shown = output.split("\n")
    assert first == f"{process.pid} ['run', 'a b.yaml'] hf_TOPSECRET S3CR3T"
    assert shown[0] == "[] 4", "the file that handed them over is closed"
    assert second == "with a second line"
    assert "PLAIN=1" in "".join(shown)
    assert "S3CR3T" not in "".join(shown)
    assert "TOPSECRET" not in "".join(shown)


def test_a_system_that_refuses_files_without_names_keeps_its_secrets_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_name: str, _flags: int) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setenv("HF_TOKEN", "hf_TOPSECRET")
    # As of the kernel's vm.memfd_noexec=2.
    monkeypatch.setattr(os, "memfd_create", refused)
    secret_environment.hide_secrets([])
    assert os.environ["HF_TOKEN"] == "hf_TOPSECRET"  # noqa: S105 (a marker)

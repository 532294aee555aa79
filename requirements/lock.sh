#!/bin/sh
# Writes every lock of this folder from pyproject.toml; run it with `make lock` and commit the result. `lock.sh torch-cpu` writes
# that one alone. The locks name no index, so that a mirror serves them too. torch is left out of all but its own files.
set -eu
cd "$(dirname "$0")/.."
compile() {
	uv pip compile --quiet --no-header --no-annotate --generate-hashes --no-emit-index-url --no-emit-find-links "$@"
}
torch_version=2.15.0

# torch without CUDA is a build of PyTorch's own, with hashes of its own, and lies on PyTorch's own index or a mirror of that alone.
lock_torch_cpu() {
	index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
	echo "torch==$torch_version+cpu" | compile - --python-version 3.11 --no-deps --default-index "$index" --output-file requirements/torch-cpu.txt
}

if [ "${1:-}" = torch-cpu ]; then
	lock_torch_cpu
	exit
fi
compile pyproject.toml --extra operator --python-version 3.11 --output-file requirements/operator.txt
compile pyproject.toml --extra trainer --python-version 3.11 --no-emit-package torch --output-file requirements/trainer.txt
compile pyproject.toml --extra trainer-ipu --python-version 3.8 --no-emit-package torch --output-file requirements/trainer-ipu.txt
compile pyproject.toml --extra dev --python-version 3.11 --no-emit-package torch --output-file requirements/dev.txt
compile pyproject.toml --extra dev --extra trainer-ipu --python-version 3.8 --no-emit-package torch --output-file requirements/dev-ipu.txt
# The engines of output.exports, beside what trainer.txt has.
compile pyproject.toml --extra exports --python-version 3.11 --no-deps --no-emit-package pydantic --output-file requirements/exports.txt
# What builds cppimport, the one package of trainer-ipu.txt that has no wheel, in the image.
printf 'setuptools\nsetuptools-scm\nwheel\n' | compile - --python-version 3.11 --output-file requirements/trainer-ipu-build.txt
# The trackers' clients and a real MLflow server, for their test alone.
printf 'mlflow\nwandb\npydantic\n' | compile - --python-version 3.11 --output-file requirements/trackers.txt
# The libraries of gs:// and az://, for the test of a run's output there.
printf 'gcsfs\nadlfs\npydantic\n' | compile - --python-version 3.11 --output-file requirements/stores.txt
# From outside the project's folder pyproject.toml's own metadata for torch does not apply, so CUDA's libraries come along.
here=$(pwd)
cd /
echo "torch==$torch_version" | compile - --python-version 3.11 --no-deps --output-file "$here/requirements/torch.txt"
echo "torch==2.0.1" | compile - --python-version 3.8 --no-deps --output-file "$here/requirements/torch-ipu.txt"
echo "torch==$torch_version" | compile - --python-version 3.11 --no-emit-package torch --output-file "$here/requirements/torch-cuda.txt.all"
cd "$here"
# Only what torch.txt and trainer.txt do not already lock.
python3 - <<'PYTHON'
import pathlib, re
folder = pathlib.Path("requirements")
entries = re.findall(r"(?m)^\S.*(?:\n    .*)*\n", (folder / "torch-cuda.txt.all").read_text())
libraries = [entry for entry in entries if entry.startswith(("nvidia-", "cuda-", "triton"))]
(folder / "torch-cuda.txt").write_text("# CUDA's libraries for torch.txt; a CPU build (torch-cpu.txt) needs none of them.\n" + "".join(libraries))
(folder / "torch-cuda.txt.all").unlink()
PYTHON
lock_torch_cpu || echo "lock: torch-cpu.txt stays as it is: the index of torch for CPUs is out of reach; TORCH_INDEX may name a mirror of it" >&2

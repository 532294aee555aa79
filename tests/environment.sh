#!/bin/sh
# Makes .venv (Python 3.11+: operator, trainer, checks) and, where a Python 3.8 is to be had, .venv38 (the IPU stack's Python).
# Idempotent: a folder is made anew only when its locks changed. torch comes without CUDA's libraries (cuda_stubs.py).
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "environment: $*"; }

stamp() { cat "$@" tests/environment.sh tests/cuda_stubs.py | sha256sum | cut -d' ' -f1; }

install_uv() {
	[ -x .venv/bin/uv ] || .venv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9'
}

# A Python 3.8 that is there: named in PYTHON38, on PATH, in pyenv's folder, or one of uv's own.
python38() {
	for candidate in "${PYTHON38:-}" python3.8 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.8*/bin/python \
		"$(.venv/bin/uv python find --quiet --managed-python 3.8 2>/dev/null)"; do
		# pyenv's shim of a version that is not switched on is on PATH and fails.
		if [ -n "$candidate" ] && "$candidate" -c '' 2>/dev/null; then command -v "$candidate"; return; fi
	done
}

# uv's builds are releases on GitHub, or on the mirror that UV_PYTHON_INSTALL_MIRROR names.
download_python38() {
	say "no Python 3.8 found in PYTHON38, on PATH or in pyenv's folder: trying 'uv python install 3.8' ..."
	UV_HTTP_RETRIES=1 .venv/bin/uv python install --no-bin 3.8 2>&1 | sed 's|^|environment: uv: |' >&2
}

make_environment() { # FOLDER PYTHON LOCK...
	folder=$1 python=$2
	shift 2
	wanted=$(stamp "$@")
	if [ "$(cat "$folder/.stamp" 2>/dev/null)" = "$wanted" ]; then return; fi
	say "making $folder with $("$python" --version) ..."
	rm -rf "$folder"
	"$python" -m venv "$folder" || { say "cannot make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	[ "$folder" = .venv ] && install_uv
	for lock in "$@"; do
		.venv/bin/uv pip install --quiet --python "$folder/bin/python" --no-deps --require-hashes --requirement "$lock"
	done
	"$folder/bin/python" tests/cuda_stubs.py "$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" >/dev/null
	"$folder/bin/python" -c 'import torch, transformers, pydantic'
	echo "$wanted" >"$folder/.stamp"
}

for tool in cc nm readelf; do
	command -v "$tool" >/dev/null || { say "$tool is missing; on Debian: apt-get install gcc libc6-dev binutils"; exit 1; }
done
make_environment .venv "${PYTHON:-python3}" requirements/dev.txt requirements/torch.txt
old=$(python38)
[ -n "$old" ] || { download_python38; old=$(python38); }
if [ -n "$old" ]; then
	make_environment .venv38 "$old" requirements/dev-ipu.txt requirements/torch-ipu.txt
else
	say "no Python 3.8: the tests of the IPU stack will be skipped. Any of these brings one: 'pyenv install 3.8.18',"
	say "UV_PYTHON_INSTALL_MIRROR=ADDRESS (of uv's builds, where GitHub is out of reach), or PYTHON38=/path/to/python3.8"
fi

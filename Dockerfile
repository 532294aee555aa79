# The images, one target each:
#   docker build --target operator --tag whisper-finetune-operator:0.1.0 .
#   docker build --target trainer --build-arg TORCH=cuda --tag whisper-finetune-trainer:0.1.0 .
#   docker build --target trainer-ipu --tag whisper-finetune-trainer-ipu:0.1.0 .        # on Graphcore's own image
# Behind a mirror: --secret id=pip.conf,src=FILE --secret id=ca-bundle,src=FILE, where the former says
# `cert = /run/secrets/ca-bundle`; neither is stored. Our own code comes last: a change of it installs nothing anew.

# Python 3.11, which the locks are made for. Only BUILD_IMAGE needs pip.
ARG BUILD_IMAGE=python:3.11-slim-bookworm
ARG RUNTIME_IMAGE=python:3.11-slim-bookworm
# Everything but our code: a stage below, or an image made of that stage before, which saves comparing its gigabytes.
ARG OPERATOR_BASE=operator-base
ARG TRAINER_BASE=trainer-base
ARG TRAINER_IPU_BASE=trainer-ipu-base
# The Poplar SDK 3.3 with its PopTorch, its torch and its Python 3.8.
ARG POPLAR_IMAGE=graphcore/pytorch:3.3.0

FROM ${BUILD_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_PYTHON=/opt/python/bin/python \
    PIP_NO_DEPS=1 PIP_REQUIRE_HASHES=1 PIP_ONLY_BINARY=:all: PIP_NO_COMPILE=1
WORKDIR /build
# A .pth file leads to our packages, so that PYTHONPATH stays the admin's.
RUN python3 -m venv --without-pip /opt/python \
 && echo /opt/app >"$(/opt/python/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/app.pth"
# The root file system is read-only when it runs, so bytecode is made here, and is never checked against the sources' times.
# torch's own tests are left out: some are of a newer Python.
ENV COMPILE="/opt/python/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash -x torch/testing/_internal"

FROM build AS operator-packages
COPY requirements/operator.txt ./
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca-bundle \
    python3 -m pip install --requirement operator.txt \
 && $COMPILE /opt/python/lib

FROM build AS operator-code
COPY crds/whisper_finetune_api /opt/app/whisper_finetune_api
COPY operator/whisper_finetune_operator /opt/app/whisper_finetune_operator
RUN chmod -R a+rX /opt/app && $COMPILE /opt/app

FROM build AS trainer-packages
# Where torch comes from. cuda: PyPI's build and CUDA's libraries. cpu: PyTorch's own CPU index, or TORCH_INDEX.
# stub: the CUDA build with empty libraries instead of CUDA's, for tests that can reach neither; never for users.
ARG TORCH=cuda
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements/torch.txt requirements/torch-cpu.txt requirements/torch-cuda.txt tests/cuda_stubs.py ./
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca-bundle \
    case "$TORCH" in \
    cuda) python3 -m pip install --requirement torch.txt --requirement torch-cuda.txt ;; \
    cpu) grep -q '^torch==' torch-cpu.txt || { cat torch-cpu.txt; exit 1; } \
      && python3 -m pip install --index-url "$TORCH_INDEX" --requirement torch-cpu.txt ;; \
    stub) python3 -m pip install --requirement torch.txt \
      && /opt/python/bin/python cuda_stubs.py "$(/opt/python/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')" ;; \
    *) echo "TORCH is '$TORCH': it must be cuda, cpu or stub"; exit 1 ;; \
    esac
COPY requirements/trainer.txt ./
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca-bundle \
    python3 -m pip install --requirement trainer.txt \
 && $COMPILE /opt/python/lib
# The engines of output.exports. yes: they are in the image.
ARG EXPORTS=no
COPY requirements/exports.txt ./
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca-bundle \
    if [ "$EXPORTS" = yes ]; then python3 -m pip install --requirement exports.txt && $COMPILE /opt/python/lib; fi
# What a pod mounts over; it is here so that the image also runs without.
RUN mkdir -p /opt/root/scratch && chmod 1777 /opt/root/scratch

FROM build AS trainer-code
COPY crds/whisper_finetune_api /opt/app/whisper_finetune_api
COPY trainer/whisper_finetune_trainer /opt/app/whisper_finetune_trainer
RUN chmod -R a+rX /opt/app && $COMPILE /opt/app

FROM ${RUNTIME_IMAGE} AS runtime
# Nothing is installed in here: what the base has of pip goes.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3.*/ensurepip /usr/local/lib/python3.*/site-packages/*
ENV PATH=/opt/python/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /
USER 65532:65532

FROM runtime AS operator-base
COPY --from=operator-packages /opt/python /opt/python

FROM ${OPERATOR_BASE} AS operator
COPY --from=operator-code /opt/app /opt/app
ENTRYPOINT ["/opt/python/bin/python", "-m", "whisper_finetune_operator"]

FROM runtime AS trainer-base
# /scratch is the one folder that it writes to besides its volumes: every library's idea of home.
ENV HOME=/scratch TMPDIR=/scratch HF_HOME=/scratch/huggingface TOKENIZERS_PARALLELISM=false
COPY --from=trainer-packages /opt/python /opt/python
COPY --from=trainer-packages /opt/root/ /

FROM ${TRAINER_BASE} AS trainer
COPY --from=trainer-code /opt/app /opt/app
ENTRYPOINT ["/opt/python/bin/python", "-m", "whisper_finetune_trainer"]

FROM build AS trainer-ipu-packages
COPY requirements/trainer-ipu.txt requirements/trainer-ipu-build.txt ./
# For Python 3.8, by this image's pip: the SDK's may be too old for the wheels. cppimport, pure Python, has none.
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca-bundle \
    python3 -m pip install --requirement trainer-ipu-build.txt \
 && python3 -m pip install --requirement trainer-ipu.txt --target /opt/python38 --no-binary cppimport --no-build-isolation \
      --implementation cp --python-version 3.8 --abi cp38 --abi abi3 --abi none \
      --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
      --platform manylinux2010_x86_64 --platform manylinux1_x86_64
RUN mkdir -p /opt/root/scratch && chmod 1777 /opt/root/scratch

# torch and PopTorch are the SDK's; nothing of it is replaced.
FROM ${POPLAR_IMAGE} AS trainer-ipu-base
USER root
RUN python3 -c 'import sys; from importlib.metadata import version; \
found = sys.version_info[:2], version("torch"), version("poptorch"); print(found); \
sys.exit(not (found[0] == (3, 8) and found[1].startswith("2.0.") and found[2].startswith("3.3.")))' \
 || { echo "POPLAR_IMAGE must have Python 3.8, torch 2.0 and PopTorch 3.3"; exit 1; }
COPY --from=trainer-ipu-packages /opt/python38 /opt/python
COPY --from=trainer-ipu-packages /opt/root/ /
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/python
# By PYTHONPATH the SDK finds PopART, so it stays in there; our packages come first, as their versions are what was tested.
ENV PYTHONPATH=/opt/app:/opt/python${PYTHONPATH:+:${PYTHONPATH}} PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HOME=/scratch TMPDIR=/scratch HF_HOME=/scratch/huggingface TOKENIZERS_PARALLELISM=false
WORKDIR /
USER 65532:65532

FROM ${TRAINER_IPU_BASE} AS trainer-ipu-code
USER root
COPY crds/whisper_finetune_api /opt/app/whisper_finetune_api
COPY trainer/whisper_finetune_trainer /opt/app/whisper_finetune_trainer
RUN chmod -R a+rX /opt/app && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/app

FROM ${TRAINER_IPU_BASE} AS trainer-ipu
COPY --from=trainer-ipu-code /opt/app /opt/app
ENTRYPOINT ["python3", "-m", "whisper_finetune_trainer"]

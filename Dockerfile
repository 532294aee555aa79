# The images, one target each:
#   docker build --target operator --tag whisper-finetune-operator:0.1.0 .
#   docker build --target trainer --build-arg TORCH=cuda --tag whisper-finetune-trainer:0.1.0 .
# Behind a mirror: --secret id=pip.conf,src=FILE --secret id=ca-bundle,src=FILE, where the former says
# `cert = /run/secrets/ca-bundle`; neither is stored. Our own code comes last: a change of it installs nothing anew.

# Python 3.11, which the locks are made for. Only BUILD_IMAGE needs pip.
ARG BUILD_IMAGE=python:3.11-slim-bookworm
ARG RUNTIME_IMAGE=python:3.11-slim-bookworm
# Everything but our code: a stage below, or an image made of that stage before, which saves comparing its gigabytes.
ARG OPERATOR_BASE=operator-base
ARG TRAINER_BASE=trainer-base

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
# What a pod mounts over; it is here so that the image also runs without.
RUN mkdir -p /opt/scratch && chmod 1777 /opt/scratch

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
COPY --from=trainer-packages /opt/scratch /scratch

FROM ${TRAINER_BASE} AS trainer
COPY --from=trainer-code /opt/app /opt/app
ENTRYPOINT ["/opt/python/bin/python", "-m", "whisper_finetune_trainer"]

# The same steps as `make` on a laptop. CPU by default; for an NVIDIA GPU:
#   docker build --build-arg BASE=nvidia/cuda:13.0.1-runtime-ubuntu24.04 --build-arg EXTRAS=gpu,tensorrt .
# PIP_ARGS passes options on to pip, such as the index of PyTorch's CPU builds; PACKAGES are those of
# the system that are wanted on top. docker/run.sh builds the image that benchmarks a GPU.
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}

ARG EXTRAS=cpu,openvino
ARG PIP_ARGS=
ARG PACKAGES=
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1

RUN apt-get update \
    && apt-get install --yes --no-install-recommends make ${PACKAGES} \
    && if ! python3 -c "import ensurepip" 2>/dev/null; then \
        apt-get install --yes --no-install-recommends python3 python3-venv; fi \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/dgprune
COPY . .
RUN make install EXTRAS="${EXTRAS}" PIP_ARGS="${PIP_ARGS}"
ENV PATH=/opt/dgprune/.venv/bin:${PATH}

RUN useradd --create-home runner && mkdir /runs && chown runner /runs
USER runner
WORKDIR /runs
ENTRYPOINT ["dgprune"]
CMD ["quickstart", "--out", "/runs/quickstart"]

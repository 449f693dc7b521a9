# syntax=docker/dockerfile:1
# An image for each role: `docker build --target web .`, and likewise worker, worker-gpu, inbox, dicom, beat,
# migrate and flower.
# Each holds what its role needs and no more: only worker-gpu has TensorFlow, a worker runs compiled networks with LiteRT.
# All run as a user without rights and write below /data and /tmp alone.

FROM python:3.12-slim-bookworm AS python
ENV PATH=/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

# The libraries of each role, from its lock file.

FROM python AS base-libraries
WORKDIR /locked
RUN python -m venv /venv
COPY requirements/base.lock requirements/
RUN pip install --require-hashes -r requirements/base.lock

FROM base-libraries AS web-libraries
COPY requirements/web.lock requirements/
RUN pip install --require-hashes -r requirements/web.lock

FROM base-libraries AS inbox-libraries
COPY requirements/inbox.lock requirements/
RUN pip install --require-hashes -r requirements/inbox.lock

FROM base-libraries AS dicom-libraries
COPY requirements/dicom.lock requirements/
RUN pip install --require-hashes -r requirements/dicom.lock

FROM base-libraries AS worker-libraries
COPY requirements/worker.lock requirements/
RUN pip install --require-hashes -r requirements/worker.lock

FROM base-libraries AS gpu-libraries
COPY requirements/gpu.lock requirements/
RUN pip install --require-hashes -r requirements/gpu.lock

FROM base-libraries AS flower-libraries
COPY requirements/flower.lock requirements/
RUN pip install --require-hashes -r requirements/flower.lock

# The program. `migrations/` and `models/` are found beside its packages.

FROM python AS program
WORKDIR /app
COPY requirements/build.lock requirements/
RUN python -m venv /venv && pip install --require-hashes -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY cli cli
COPY core core
COPY migrations migrations
COPY training training
COPY web web
COPY worker worker
# A folder of metadata beside the packages, which says what version this is.
RUN python -c "import setuptools; setuptools.setup()" --quiet egg_info && python -m compileall -q .

FROM python AS role
ENV PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FRACTURE_HOME=/data \
    FRACTURE_HOST=0.0.0.0
RUN useradd --uid 1000 --create-home fracture && mkdir /data && chown fracture /data
WORKDIR /app
COPY --from=program /app /app
USER 1000
VOLUME /data
ENTRYPOINT ["python", "-m", "cli.main"]

# The roles.

FROM role AS migrate
COPY --from=base-libraries /venv /venv
CMD ["migrate"]

FROM role AS beat
COPY --from=base-libraries /venv /venv
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-m", "cli.main", "health", "beat"]
CMD ["beat"]

FROM role AS inbox
COPY --from=inbox-libraries /venv /venv
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-m", "cli.main", "health", "inbox"]
CMD ["inbox"]

FROM role AS dicom
COPY --from=dicom-libraries /venv /venv
ENV FRACTURE_DICOM_HOST=0.0.0.0
EXPOSE 11112
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-m", "cli.main", "health", "dicom"]
CMD ["dicom"]

FROM role AS web
COPY --from=web-libraries /venv /venv
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-m", "cli.main", "health", "web"]
CMD ["web"]

FROM role AS flower
COPY --from=flower-libraries /venv /venv
EXPOSE 5555
ENTRYPOINT ["celery", "--app", "core.queue:app", "flower", "--port=5555"]
CMD []

FROM role AS worker-gpu
COPY --from=gpu-libraries /venv /venv
COPY models models
ENV FRACTURE_ENGINE=keras \
    FRACTURE_WORKER_PROCESSES=1 \
    FRACTURE_BATCH_SIZE=32
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-m", "cli.main", "health", "worker"]
CMD ["worker"]

FROM role AS worker
COPY --from=worker-libraries /venv /venv
COPY models models
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-m", "cli.main", "health", "worker"]
CMD ["worker"]

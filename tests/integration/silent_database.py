"""Run inside `unshare --net --mount`: a database's machine falls silent; print what its client is told, and when."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from sqlalchemy import text

from chaos.testbed.network import Namespaces, stop
from chaos.testbed.services import start_postgres
from chaos.trial import wait_until
from core.database import Database
from core.errors import DatabaseUnavailable

#: By default a client waits for a quarter of an hour and longer.
PATIENCE = 60.0


def main(folder: Path) -> None:
    network = Namespaces()
    host = network.add("services", folder / "services")
    database = Database(start_postgres(network, host))
    told: dict[str, float] = {}
    under_way = threading.Barrier(3)
    cut = threading.Event()

    def wait_for_an_answer() -> None:
        began = time.monotonic()
        try:
            with database.transaction() as session:
                session.execute(text("SELECT 1"))
                under_way.wait(60)
                session.execute(text("SELECT pg_sleep(60)"))
        except DatabaseUnavailable:
            told["waiting for an answer"] = time.monotonic() - began

    def ask_in_the_middle() -> None:
        try:
            with database.transaction() as session:
                session.execute(text("SELECT 1"))
                under_way.wait(60)
                cut.wait(60)
                began = time.monotonic()
                session.execute(text("SELECT 1"))
        except DatabaseUnavailable:
            told["asking in the middle"] = time.monotonic() - began

    threads = [threading.Thread(target=each, daemon=True) for each in (wait_for_an_answer, ask_in_the_middle)]
    try:
        for thread in threads:
            thread.start()
        under_way.wait(60)
        with Database(database.url.render_as_string()).reading() as session:
            asked = text("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'")
            wait_until(lambda: session.execute(asked).scalar_one() == 1, "the long statement runs")
        network.cut(host)
        cut.set()
        for thread in threads:
            thread.join(timeout=PATIENCE)
    finally:
        network.join(host)
        stop([host], 10)
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

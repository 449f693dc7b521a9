"""The worker role: check what it needs, then hand over to Celery."""

from __future__ import annotations

from core.alive import forget_life
from core.bundle import Bundle, find_bundles
from core.database import Database
from core.errors import ModelNotFound
from core.home import prepare_runtime
from core.queue import UPKEEP_QUEUE, WORK_QUEUE, app
from core.records.models import ModelVersion, active_models, register_bundles
from core.schema import check_schema
from core.settings import Settings
from worker.notes import forget_dead


def register_installed(settings: Settings, database: Database, actor: str) -> list[Bundle]:
    """Bring the table of models up to date and check the files of every active model that is installed.

    Returns:
        The bundles of the active models.

    Raises:
        ModelNotFound: There is no bundle, or none of the active models is installed.
        ModelMismatch: A bundle's files differ from its card.
    """
    bundles = find_bundles(settings.models)
    with database.transaction() as session:
        register_bundles(session, bundles, actor)
        active: list[ModelVersion] = active_models(session)
    wanted = {version.sha256 for version in active}
    usable = [bundle for bundle in bundles if bundle.sha256 in wanted]
    if active and not usable:
        names = ", ".join(version.full_name for version in active)
        raise ModelNotFound(f"None of the active models ({names}) is installed in {settings.models}.")
    for bundle in usable:
        bundle.verify()
    return usable


def run_worker(settings: Settings) -> None:
    """Run a Celery worker until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: The database's tables are of another revision.
        ModelError: No usable model is installed.
    """
    database = Database(settings.database_url)
    check_schema(database)
    register_installed(settings, database, "worker")
    database.dispose()
    prepare_runtime(settings.runtime)
    forget_dead(settings.runtime)
    app.worker_main(
        [
            "worker",
            "--pool=prefork",
            f"--concurrency={settings.processes}",
            f"--queues={WORK_QUEUE},{UPKEEP_QUEUE}",
            "--without-gossip",
            "--without-mingle",
            "--loglevel=INFO",
        ]
    )


def run_beat(settings: Settings) -> None:
    """Run Celery beat until SIGTERM or SIGINT."""
    check_schema(Database(settings.database_url))
    prepare_runtime(settings.runtime)
    try:
        app.Beat(scheduler_cls="worker.clock:LivingScheduler", loglevel="INFO").run()
    finally:
        forget_life(settings.runtime, "beat")

"""What one worker process has: settings, database, store, and the networks that it has loaded so far.

Nothing is loaded when this module is imported; a network is loaded when the first job for it is claimed.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from core.bundle import Bundle, find_bundles
from core.database import Database
from core.engines.protocol import Classifier, load_classifier
from core.errors import ConfigurationError, ModelError
from core.records.models import list_models
from core.records.workers import Identity
from core.settings import Settings
from core.store import Store, open_store
from worker.notes import Notebook

log = logging.getLogger(__name__)

#: How often the bundles on disk are compared with the table, so that a newly published model needs no restart.
_LOOK_SECONDS = 10.0


@dataclass
class WorkerContext:
    """The parts that a worker process hands to its functions."""

    settings: Settings
    database: Database
    store: Store
    identity: Identity
    stopping: bool = False  # a polite stop was asked for: finish the batch in hand, take no other
    stored_before: float | None = None  # seconds that storing the last batch took
    notes: Notebook = field(default_factory=Notebook)  # what it is doing, legible after its death
    model: str | None = None  # NAME/VERSION of the network used last
    _classifiers: dict[int, Classifier] = field(default_factory=dict)
    _bundles: dict[int, Bundle] = field(default_factory=dict)
    _unusable: set[int] = field(default_factory=set)
    _looked_at: float = float("-inf")

    @classmethod
    def of(cls, settings: Settings) -> WorkerContext:
        """Open everything but the networks."""
        return cls(
            settings=settings,
            # Answers that a power cut takes are worked out again: their jobs wait, or their leases run out.
            database=Database(settings.database_url, synced=False),
            store=open_store(settings),
            identity=Identity.of_this_process("worker"),
        )

    def installed(self) -> list[int]:
        """Return the model versions that this process can run."""
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            by_card = {bundle.sha256: bundle for bundle in find_bundles(self.settings.models)}
            with self.database.reading() as session:
                versions = list_models(session)
            self._bundles = {version.id: by_card[version.sha256] for version in versions if version.sha256 in by_card}
            self._looked_at = time.monotonic()
        return [number for number in self._bundles if number not in self._unusable]

    def classifier(self, model_version_id: int) -> Classifier:
        """Return a network, loaded at its first use.

        Raises:
            ModelError: The bundle is unusable; this process does not ask for its jobs again.
            ConfigurationError: The engine is not installed here; likewise.
        """
        bundle = self._bundles[model_version_id]
        self.model = f"{bundle.card.name}/{bundle.card.version}"
        if model_version_id not in self._classifiers:
            started = time.monotonic()
            try:
                self._classifiers[model_version_id] = load_classifier(bundle, self.settings.engine)
            except (ModelError, ConfigurationError):
                self._unusable.add(model_version_id)
                raise
            log.info(
                "Loaded %s %s with %s in %.1f s.",
                bundle.card.name,
                bundle.card.version,
                self._classifiers[model_version_id].engine,
                time.monotonic() - started,
            )
        return self._classifiers[model_version_id]

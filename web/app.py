"""The application: pages, JSON API, images and health, wired to one database and one store.

`create_app` does all the work; importing this module does none. The web process needs neither TensorFlow nor LiteRT.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from flask import Flask
from jinja2 import StrictUndefined

from core.announce import announcer
from core.database import Database
from core.ingest import Ingest
from core.overview import Overview
from core.settings import Settings
from core.store import open_store
from web import (
    access,
    api,
    api_queue,
    api_reviews,
    drift,
    exports,
    health,
    identity,
    images,
    metrics,
    openapi,
    problems,
    queue,
    radiograph,
    rates,
    reference,
    results,
    review,
    review_figures,
    samples,
    security,
    sign_in,
    submissions,
    upload,
    words,
)
from web.attempts import Attempts
from web.door import Door
from web.identifiers import IdentifierConverter
from web.limits import most_body_bytes, most_form_parts
from web.parts import EXTENSION, Parts
from web.secret import secret_key

#: Of a session in which nothing is asked for: a working day.
_SESSION_LIFETIME = timedelta(hours=12)


def create_app(settings: Settings, *, announce: Callable[[int], None] | None = None) -> Flask:
    """Make the application.

    Args:
        settings: Of this installation.
        announce: Rings for a number of new jobs; None: the broker's bell. May raise `BrokerUnavailable`.

    Raises:
        ConfigurationError: The settings name no usable database, store or secret key.
    """
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=secret_key(settings),
        MAX_CONTENT_LENGTH=most_body_bytes(settings),
        MAX_FORM_PARTS=most_form_parts(settings),
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.behind_tls,
        # Browsers keep one jar for all ports of a machine; with this prefix only https may fill it.
        SESSION_COOKIE_NAME="__Host-fracture-queue" if settings.behind_tls else f"fracture-queue-{settings.port}",
        PERMANENT_SESSION_LIFETIME=_SESSION_LIFETIME,
    )
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.json.sort_keys = False  # type: ignore[attr-defined]  # scores come most probable first
    app.url_map.converters["id"] = IdentifierConverter

    database, store = Database(settings.database_url), open_store(settings)
    announce = announce or announcer(settings, database)
    ingest = Ingest(settings, database, store, announce)
    door = Door(settings, database)
    app.extensions[EXTENSION] = Parts(
        settings, database, store, ingest, announce, door, Attempts(), Overview(settings, database)
    )

    # In this order for each request: may it come from there at all, who asks, how often, and for what.
    security.guard(app, settings)
    identity.identify_everybody(app)
    rates.limit_rates(app, settings)
    access.guard_endpoints(app)
    problems.answer_errors(app)
    words.add_filters(app)
    for page in (sign_in, upload, submissions, samples, results, radiograph, review, review_figures):
        app.register_blueprint(page.blueprint)
    for page in (drift, queue, reference):
        app.register_blueprint(page.blueprint)
    app.register_blueprint(exports.blueprint)
    described = openapi.describe(app)
    for module in (api, api_queue, api_reviews, images, health, metrics):
        described.register_blueprint(module.blueprint)
    described.register_blueprint(drift.described)
    return app

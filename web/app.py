"""The application: pages, JSON API, images and health, wired to one database and one store.

`create_app` does all the work; importing this module does none. The web process needs neither TensorFlow nor LiteRT.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask
from jinja2 import StrictUndefined

from core.announce import announcer
from core.database import Database
from core.ingest import Ingest
from core.settings import Settings
from core.storage import FolderStore
from web import (
    api,
    api_reviews,
    exports,
    health,
    images,
    openapi,
    problems,
    queue,
    radiograph,
    reference,
    results,
    review,
    review_figures,
    security,
    upload,
    words,
)
from web.identifiers import IdentifierConverter
from web.limits import most_body_bytes, most_form_parts
from web.parts import EXTENSION, Parts
from web.secret import secret_key


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
    )
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.json.sort_keys = False  # type: ignore[attr-defined]  # scores come most probable first
    app.url_map.converters["id"] = IdentifierConverter

    database, store = Database(settings.database_url), FolderStore.at(settings.store_url)
    announce = announce or announcer(settings, database)
    ingest = Ingest(settings, database, store, announce)
    app.extensions[EXTENSION] = Parts(settings, database, store, ingest, announce)

    security.guard(app, settings)
    problems.answer_errors(app)
    words.add_filters(app)
    for page in (upload, results, radiograph, review, review_figures, queue, reference):
        app.register_blueprint(page.blueprint)
    app.register_blueprint(exports.blueprint)
    described = openapi.describe(app)
    for module in (api, api_reviews, images, health):
        described.register_blueprint(module.blueprint)
    return app

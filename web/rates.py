"""How much one person, program or address may ask in a minute. Not on loopback: there all are one."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Flask, request
from flask_limiter import ApplicationLimit, Limiter, RequestLimit

from core.settings import Settings
from web.door import is_loopback
from web.identity import visitor
from web.problems import TooOften

_READS, _WRITES = ("GET", "HEAD", "OPTIONS"), ("POST", "PUT", "PATCH", "DELETE")


def limit_rates(app: Flask, settings: Settings) -> None:
    """Count requests and refuse those that are too many."""
    if is_loopback(settings.host):
        return
    kinds = {"reads": (settings.reads_per_minute, _READS), "writes": (settings.writes_per_minute, _WRITES)}
    limits: list[str | Callable[[], str] | ApplicationLimit] = [
        ApplicationLimit(f"{most}/minute", scope=kind, methods=methods)
        for kind, (most, methods) in kinds.items()
        if most
    ]
    # In memory: one process serves the page of a machine.
    Limiter(_asking, app=app, application_limits=limits, storage_uri="memory://", on_breach=_refuse)


def _asking() -> str:
    asking = visitor()
    return f"{asking.kind} {asking.name}" if asking else f"address {request.remote_addr}"


def _refuse(breached: RequestLimit) -> None:
    seconds = max(1, int(breached.reset_at - time.time()))
    raise TooOften(f"More than {breached.limit.amount} such requests in a minute; wait {seconds} s.", seconds)

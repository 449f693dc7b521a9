"""A page of results in the order that was asked for, and where the next one begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from core.records.filters import Order
from core.records.results import Result, list_by_confidence, list_results
from web.parameters import DEFAULT_LIMIT, filters_of

#: The parameters that say where a page begins.
PLACES = ("before_id", "after")


@dataclass(frozen=True)
class ResultPage:
    """Some results."""

    results: list[Result]
    following: dict[str, str]  # the parameters of the next page; empty: there is none


def page_of(session: Session, asked: Mapping[str, Any]) -> ResultPage:
    """Return the page that the parameters of `ListParameters` ask for.

    Raises:
        NotFound: There is no such model.
    """
    limit, order = asked.get("limit", DEFAULT_LIMIT), Order(asked.get("order", Order.NEWEST))
    filters = filters_of(asked)
    if order == Order.NEWEST:
        found = list_results(session, filters, limit=limit + 1, before_id=asked.get("before_id"))
    else:
        doubt = order == Order.DOUBT
        found = list_by_confidence(session, filters, limit=limit + 1, doubt=doubt, after=asked.get("after"))
    if len(found) <= limit:
        return ResultPage(found, {})
    last = found[limit - 1]
    if order == Order.NEWEST:
        return ResultPage(found[:limit], {"before_id": str(last.id)})
    # All digits: a rounded confidence would skip or repeat its neighbours.
    return ResultPage(found[:limit], {"after": f"{last.confidence!r},{last.id}"})

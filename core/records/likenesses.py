"""Which radiographs look like which: hashes as they come, candidates for a closer look, links that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import exists, insert, literal, or_, select, union_all
from sqlalchemy.orm import Session

from core.database import insert_ignoring, now
from core.likeness import BANDS, bands, distance, joined, neighbours
from core.tables import JobRow, JobStatus, LikenessRow, LookAlikeRow, RadiographRow

_BANDS = (LikenessRow.band_0, LikenessRow.band_1, LikenessRow.band_2, LikenessRow.band_3)
#: Rows that one value of one band may bring. Pictures on the same plate crowd together; the newest are taken.
_MOST_OF_A_BAND = 500
#: Candidates with a nearer hash than others come first; each costs a decoding.
MOST_CANDIDATES = 12
#: Links that are listed for one radiograph.
_MOST_LINKS = 20


@dataclass(frozen=True)
class Unseen:
    """A radiograph for which nobody has looked for look-alikes."""

    radiograph_id: int
    mark: int  # its hash
    storage_key: str
    frame: int


@dataclass(frozen=True)
class Candidate:
    """An earlier radiograph whose hash is near."""

    radiograph_id: int
    distance: int  # bits
    storage_key: str
    frame: int


@dataclass(frozen=True, kw_only=True)
class LookAlike:
    """A radiograph that shows the same as another, for people."""

    id: int
    name: str
    difference: str  # "another size", "another format", ...
    distance: int  # of the hashes, 0 to 64 bits
    likeness: float  # of the detail, at most 2


def record_fingerprints(session: Session, marks: Mapping[int, int]) -> None:
    """Keep the hashes of radiographs; those that are known stay as they are.

    Args:
        session: A transaction that may write.
        marks: Radiographs, which exist, to their hashes.
    """
    rows = [
        {"radiograph_id": number, "looked_at": None} | {f"band_{place}": part for place, part in enumerate(bands(mark))}
        for number, mark in sorted(marks.items())
    ]
    insert_ignoring(session, LikenessRow, rows)


def work_waits(session: Session) -> bool:
    """Whether some radiograph waits for an answer, which comes first."""
    return bool(session.scalar(select(exists(select(JobRow.id).where(JobRow.status == JobStatus.WAITING)))))


def take_unseen(session: Session) -> Unseen | None:
    """Take the oldest radiograph for which nobody has looked; nobody else gets it, and it is not taken again.

    Noted before it is looked at, so that a picture which harms its process does so once.
    """
    row = session.execute(
        select(LikenessRow, RadiographRow.storage_key, RadiographRow.frame)
        .join(RadiographRow, RadiographRow.id == LikenessRow.radiograph_id)
        .where(LikenessRow.looked_at.is_(None))
        .order_by(LikenessRow.radiograph_id)
        .limit(1)
        .with_for_update(of=LikenessRow, skip_locked=True)
    ).first()
    if row is None:
        return None
    row.LikenessRow.looked_at = now(session)
    return Unseen(row.LikenessRow.radiograph_id, _mark_of(row.LikenessRow), row.storage_key, row.frame)


def candidates(session: Session, unseen: Unseen, *, most_bits: int) -> list[Candidate]:
    """Return earlier radiographs whose hash is near, the nearest first, at most `MOST_CANDIDATES`.

    All within `core.likeness.REACH` bits are found, others with some luck; what crowds a band is cut off.
    """
    parts = []
    for column, part in zip(_BANDS, bands(unseen.mark), strict=True):
        near = (
            select(LikenessRow.radiograph_id)
            .where(column.in_(list(neighbours(part))), LikenessRow.radiograph_id < unseen.radiograph_id)
            .order_by(LikenessRow.radiograph_id.desc())
            .limit(_MOST_OF_A_BAND)
            .subquery()
        )
        parts.append(select(near.c.radiograph_id))
    numbers = set(session.scalars(union_all(*parts)))
    rows = session.scalars(select(LikenessRow).where(LikenessRow.radiograph_id.in_(numbers))).all()
    found = sorted((distance(unseen.mark, _mark_of(row)), -row.radiograph_id) for row in rows)
    nearest = {-number: bits for bits, number in found[:MOST_CANDIDATES] if bits <= most_bits}
    keys = session.execute(
        select(RadiographRow.id, RadiographRow.storage_key, RadiographRow.frame).where(RadiographRow.id.in_(nearest))
    )
    return sorted(
        (Candidate(number, nearest[number], key, frame) for number, key, frame in keys),
        key=lambda each: (each.distance, -each.radiograph_id),
    )


def record_look_alikes(session: Session, radiograph_id: int, found: Sequence[tuple[Candidate, float]]) -> None:
    """Link a radiograph with earlier ones that show the same, as far as both still exist.

    Args:
        session: A transaction that may write.
        radiograph_id: The later one.
        found: The earlier ones, and how alike the detail is.
    """
    at = now(session)
    for candidate, likeness in found:
        values = select(
            literal(radiograph_id),
            RadiographRow.id,
            literal(candidate.distance),
            literal(likeness),
            literal(at, LookAlikeRow.found_at.type),
        ).where(
            RadiographRow.id == candidate.radiograph_id,
            exists(select(LikenessRow.radiograph_id).where(LikenessRow.radiograph_id == radiograph_id)),
        )
        columns = ["radiograph_id", "other_id", "distance", "likeness", "found_at"]
        session.execute(insert(LookAlikeRow).from_select(columns, values))


def look_alikes(session: Session, radiograph_id: int) -> list[LookAlike]:
    """Return what shows the same as one radiograph, earlier and later ones, oldest first, at most 20."""
    own = session.get(RadiographRow, radiograph_id)
    if own is None:
        return []
    links = session.scalars(
        select(LookAlikeRow)
        .where(or_(LookAlikeRow.radiograph_id == radiograph_id, LookAlikeRow.other_id == radiograph_id))
        .limit(_MOST_LINKS)
    )
    by_number = {link.other_id if link.radiograph_id == radiograph_id else link.radiograph_id: link for link in links}
    others = session.scalars(select(RadiographRow).where(RadiographRow.id.in_(by_number)).order_by(RadiographRow.id))
    return [
        LookAlike(
            id=other.id,
            name=other.name,
            difference=_difference(own, other),
            distance=by_number[other.id].distance,
            likeness=by_number[other.id].likeness,
        )
        for other in others
    ]


def _mark_of(row: LikenessRow) -> int:
    return joined([getattr(row, f"band_{place}") for place in range(BANDS)])


def _difference(one: RadiographRow, other: RadiographRow) -> str:
    """Say what differs, by what the headers say: the detail was found to agree."""
    if abs(one.width * other.height - other.width * one.height) > max(one.width * other.height, 1) * 0.01:
        return "another crop"
    if (one.width, one.height) != (other.width, other.height):
        return "another size"
    return "another format" if one.media_type != other.media_type else "other bytes"

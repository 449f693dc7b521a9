"""The words that columns hold: states, doors, kinds and roles."""

from __future__ import annotations

import enum


class JobStatus(enum.StrEnum):
    r"""Where a job stands.

    waiting --claim--> running --answer--> done
       ^  |               |  \--the file's fault or a bug--> failed
       |  |               |   \--third unexplained death--> quarantined
       |  \--cancel--> cancelled
       \--lease ran out, polite stop, passing cause--/
       \--retry, from failed, quarantined and cancelled
    """

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    CANCELLED = "cancelled"


#: Nothing more happens to these without a person.
ENDED = (JobStatus.DONE, JobStatus.FAILED, JobStatus.QUARANTINED, JobStatus.CANCELLED)


class ArrivalStatus(enum.StrEnum):
    """What the door said."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Source(enum.StrEnum):
    """Which door a radiograph came through."""

    INBOX = "inbox"
    WEB = "web"
    API = "api"
    COMMAND = "command"
    DICOM = "dicom"  # sent by a scanner or an archive


#: Readings: the first sees the model's answer, the second is another person's, who sees neither that nor the first.
FIRST, SECOND = 1, 2


class ReviewKind(enum.StrEnum):
    """What a reader said."""

    LABELLED = "labelled"  # with the label
    UNSURE = "unsure"
    WITHDRAWN = "withdrawn"  # the review before it does not stand any more


class Role(enum.StrEnum):
    """What a person or a program may do: each may what those before it may, and more."""

    VIEWER = "viewer"  # looks
    REVIEWER = "reviewer"  # uploads, reviews, retries
    ADMIN = "admin"  # everything

    def covers(self, least: Role) -> bool:
        """Whether this role may what `least` may; compared as words, roles would follow the alphabet."""
        order = list(Role)
        return order.index(self) >= order.index(least)

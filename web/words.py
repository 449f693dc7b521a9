"""Numbers, times and states in words for people, as filters of the templates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from flask import Flask

from core.answers import DOUBTFUL, UNLIKE_RADIOGRAPHS
from core.doubts import KIND, WHETHER, doubts
from core.plausibility import WORDS, sentence_of
from core.records.failures import MOST_COUNTED
from core.records.fractures import FRACTURE_TASK, affirms, fracture_probability
from core.records.results import Result
from core.records.submissions import SubmissionState
from core.tables import FIRST, JobStatus, Source
from core.words import counted

PURPOSE = "Research and education only. Not a medical device; never for diagnosis."
_STATUS = {
    None: "Not asked",
    JobStatus.WAITING: "Waiting in the queue",
    JobStatus.RUNNING: "Being classified",
    JobStatus.DONE: "Classified",
    JobStatus.FAILED: "Failed",
    JobStatus.QUARANTINED: "Set aside",
    JobStatus.CANCELLED: "Cancelled",
}
_SOURCE = {
    Source.INBOX: "Inbox folder",
    Source.WEB: "This page",
    Source.API: "API",
    Source.COMMAND: "Command line",
    Source.DICOM: "DICOM receiver",
}
_FLAGS = {
    DOUBTFUL: "The model is unsure; a person should look.",
    UNLIKE_RADIOGRAPHS: "Unlike the radiographs that the model knows; perhaps not a radiograph.",
}


def percent(share: float) -> str:
    """Write a probability; never as a certainty that no model has."""
    if share > 0.99:
        return "> 99 %"
    if share < 0.01:
        return "< 1 %"
    return f"{share * 100:.0f} %"


def chance_words(share: float) -> str:
    """Write a probability as a share of ten, which people grasp better than per cent: "about 7 in 10"."""
    if share < 0.01:
        return "less than 1 in 100"
    if share < 0.05:
        return "less than 1 in 20"
    if share > 0.99:
        return "more than 99 in 100"
    if share > 0.95:
        return "more than 19 in 20"
    # Half a tenth counts as a whole one, and never does it say 0 or 10.
    return f"about {min(9, max(1, int(share * 10 + 0.5)))} in 10"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Write a list as people do: "A, B and C"."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def reading_words(reading: int) -> str:
    """Name a reading."""
    return "The first reading" if reading == FIRST else "The second reading"


def status_words(status: JobStatus | None) -> str:
    """Name a job's status."""
    return _STATUS[status]


def source_words(source: Source) -> str:
    """Name a door."""
    return _SOURCE[source]


def flag_words(flag: str, task: str | None = None) -> str:
    """Explain a flag; of a model whose task is known, doubt names the question."""
    if flag == DOUBTFUL and task is not None:
        return f"{label_words(WHETHER if task == FRACTURE_TASK else KIND)}; a person should look."
    if flag in WORDS:
        return f"{label_words(WORDS[flag])}."
    return _FLAGS.get(flag, label_words(flag))


def unjudged_words(flags: Sequence[str]) -> str | None:
    """Say why an answer is no judgement of a radiograph: "Not judged as a radiograph: text or a plot"; else None."""
    return sentence_of(flags)


def doubt_words(result: Result) -> list[str]:
    """Say which questions a result is unsure of."""
    return [f"{label_words(words)}." for words in doubts(result)]


def network_flags(flags: Sequence[str]) -> list[str]:
    """Leave out the flags that `unjudged_words` has said."""
    return [flag for flag in flags if flag not in WORDS]


def label_words(label: str) -> str:
    """Write a class's label as people do: `fracture-dislocation` is "Fracture dislocation"."""
    words = label.replace("-", " ").replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def moment(at: datetime) -> str:
    """Write a time, in UTC like every stored one."""
    utc = at.astimezone(UTC)
    return f"{utc.day} {utc:%b %Y, %H:%M:%S} UTC"


def duration(milliseconds: float) -> str:
    """Write a length of time with the unit that fits."""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def byte_size(count: int) -> str:
    """Write a size with the unit that fits."""
    if count < 1024:
        return f"{count} bytes"
    return f"{count / 1024:.0f} KiB" if count < 2**20 else f"{count / 2**20:.1f}".removesuffix(".0") + " MiB"


def fracture_words(label: str) -> str:
    """Say what a binary model's label means; its threshold may suspect what is less likely than not."""
    return "Fracture suspected" if affirms(label) else "No fracture suspected"


def at_most(count: int) -> str:
    """Write a number that was counted only so far."""
    return f"{count:,}" if count < MOST_COUNTED else f"{MOST_COUNTED:,} or more"


def progress_words(submission: SubmissionState) -> str:
    """Say how far a submission has come."""
    counts = submission.counts
    accepted, unfinished = counts.accepted, counts.unfinished
    words = f"{counts.by_status[JobStatus.DONE]} of {counted(accepted, 'file', 'files')} classified."
    if unfinished:
        words = f"{accepted - unfinished} of {counted(accepted, 'file', 'files')} finished so far."
    if not accepted:
        words = "No file was accepted."
    elif submission.rejected:
        words += f" {counted(submission.rejected, 'file was', 'files were')} rejected."
    return words


def time_left_words(seconds: float | None) -> str:
    """Say how long something will probably take."""
    if seconds is None:
        return "Time to go: unknown."
    return f"About {duration(seconds * 1000).replace('.0 s', ' s')} to go."


def add_filters(app: Flask) -> None:
    """Give the templates these words."""
    functions = (
        *(percent, status_words, source_words, flag_words, doubt_words, unjudged_words, network_flags, label_words),
        *(moment, duration, byte_size, fracture_probability, fracture_words, counted, at_most),
        *(progress_words, time_left_words, chance_words, reading_words),
    )
    app.jinja_env.filters.update({function.__name__: function for function in functions})
    app.jinja_env.globals["PURPOSE"] = PURPOSE

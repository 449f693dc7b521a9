"""All settings in one frozen object, read from the environment once per process.

`Settings.from_env(os.environ)` is called by each process's entry point and handed down; nothing else reads the
environment. Each field's `help` becomes a row of the README's table, which a test compares.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from core.dicom.peers import Peers, ae_title
from core.errors import ConfigurationError
from core.setting_readers import absolute_path, broker_url, flag, one_of, seconds, whole

PREFIX = "FRACTURE_"
ENGINES = ("litert", "keras")
_SECRETS = ("DATABASE_URL", "BROKER_URL", "SECRET_KEY", "PSEUDONYM_KEY", "STORE_ACCESS_KEY", "STORE_SECRET_KEY")
#: Secrets may be in files instead, as container keepers hand them over: this variable names the file of that setting.
SECRET_FILES = {f"{PREFIX}{name}_FILE": f"{PREFIX}{name}" for name in _SECRETS}
#: Characters that a key has at least.
SHORTEST_KEY = 32
#: A bucket, by the rules of S3 for names, and what stands before each key in it.
_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9][A-Za-z0-9._=-]*)*)/?")
MODELS_FOLDER = Path(__file__).resolve().parent.parent / "models"


def _secrets_in_files(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the secrets that files hold, by the variable they stand for, and what is wrong with them."""
    found, problems = {}, []
    for variable, stands_for in SECRET_FILES.items():
        file = environ.get(variable, "")
        if file == "":
            continue
        if environ.get(stands_for):
            problems.append(f"{variable} and {stands_for} are both set; one of them is enough.")
        try:
            found[stands_for] = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            problems.append(f"{variable}={file!r} cannot be read: {getattr(error, 'strerror', 'it is no text')}.")
    return found, problems


def _masked(url: str) -> str:
    """Hide the password in an address, wherever it stands."""
    return re.sub(r"([?&]password=)[^&]*", r"\1***", re.sub(r"://([^:@/]*):.*@", r"://\1:***@", url))


def _setting(default: Any, read: Callable[[str], Any], help: str, shown: str | None = None) -> Any:
    """One field; `shown` is the default as the README prints it, where it is computed."""
    return field(default=default, metadata={"read": read, "help": help, "shown": shown})


def sqlite_url(file: Path) -> str:
    """Return the address of a SQLite file, whose path may hold what has a meaning in addresses."""
    return f"sqlite:///{str(file).replace('%', '%25').replace('?', '%3F')}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an installation can be told. Durations in seconds, sizes in bytes, paths absolute."""

    home: Path = _setting(Path("var").absolute(), absolute_path, "The folder that holds everything", "./var")
    database_url: str = _setting(
        "", str, "SQLAlchemy address of the database (SQLite or PostgreSQL)", "SQLite in the home folder"
    )
    broker_url: str = _setting("", broker_url, "Celery broker; empty: the Redis that `up` starts", "the embedded Redis")
    broker_prefix: str = _setting(
        "fracture-queue:", str, "Prefix of all keys in the broker; keeps two installations on one Redis apart"
    )
    store_url: str = _setting(
        "",
        str,
        "Where originals are kept: `file://` and a folder, or `s3://bucket/prefix`",
        "`store/` in the home folder",
    )
    store_endpoint: str = _setting("", str, "Address of an S3-compatible service", "that of Amazon")
    store_region: str = _setting("us-east-1", str, "The bucket's region")
    store_access_key: str = _setting("", str, "Names the account at the bucket", "the machine's own role there")
    store_secret_key: str = _setting("", str, "Its secret", "none")
    store_cache_bytes: int = _setting(
        2 * 2**30, whole(0), "Most bytes of a bucket's originals that are also kept in `cache/` of the home folder"
    )
    inbox: Path = _setting(Path(), absolute_path, "The watched folder", "`inbox/` in the home folder")
    models: Path = _setting(MODELS_FOLDER, absolute_path, "The folder of model bundles", "`models/` of the project")
    data: Path = _setting(
        Path(),
        absolute_path,
        "Data sets for the page of samples: a folder with a `MANIFEST.csv`, or a folder of such folders",
        "none",
    )
    engine: str = _setting("litert", one_of(*ENGINES), "How networks are run: `litert` or `keras`")
    host: str = _setting("127.0.0.1", str, "The address that the page listens on")
    port: int = _setting(8000, whole(1, 65535), "The port that the page listens on")
    secret_key: str = _setting(
        "",
        str,
        "Signs browser sessions; beyond loopback it has at least 32 characters",
        "made at the first start, in the home folder",
    )
    pseudonym_key: str = _setting(
        "",
        str,
        "Makes the hashes that stand for patients and names of DICOM files; at least 32 characters",
        "made at the first start, in the home folder",
    )
    keep_identifiers: bool = _setting(
        False, flag, "DICOM files are stored with patients' names, as they came, and their file names kept", "0"
    )
    behind_tls: bool = _setting(
        False, flag, "The page is reached by https alone: a proxy in front of it ends TLS. Binds cookies to https", "0"
    )
    reads_per_minute: int = _setting(
        3000, whole(0), "Most reads of one user, token or address a minute; not on loopback; 0: no limit"
    )
    writes_per_minute: int = _setting(300, whole(0), "Likewise of uploads and other writes")

    worker_processes: int = _setting(0, whole(0, 256), "Processes that classify; 0: one per processor core", "0")
    batch_size: int = _setting(8, whole(1, 1024), "Radiographs that a worker claims at once")
    lease_seconds: float = _setting(15.0, seconds, "How long a claim holds unless it is renewed")
    heartbeat_seconds: float = _setting(5.0, seconds, "How often claims are renewed and workers report")
    batch_limit_seconds: float = _setting(60.0, seconds, "Longest time for one batch; then its process is killed")
    memory_limit_mib: int = _setting(
        2048,
        whole(0),
        "Memory that decoding a batch may add to its process, in MiB; an image that wants more fails; 0: no limit",
    )
    drain_seconds: float = _setting(10.0, seconds, "How long one task goes on claiming batches before it ends")
    reconcile_seconds: float = _setting(5.0, seconds, "How often lost work is looked for")
    bell_patience_seconds: float = _setting(5.0, seconds, "Waiting work older than this is announced again")
    stop_seconds: float = _setting(20.0, seconds, "How long a polite stop may take before processes are killed")

    log_format: str = _setting(
        "readable",
        one_of("readable", "json"),
        "How the log looks: `readable`, or `json`, which also tells what happens to each radiograph",
    )

    settle_seconds: float = _setting(1.0, seconds, "How long a file in the inbox must be quiet before it is taken")
    rescan_seconds: float = _setting(5.0, seconds, "How often the whole inbox is scanned, whatever the events say")
    inbox_polling: bool = _setting(False, flag, "Watch by looking alone (network shares send no events)", "0")
    inbox_read_only: bool = _setting(
        False, flag, "The inbox is only read: files stay in it, and the database remembers which were taken", "0"
    )
    inbox_done: str = _setting("keep", one_of("keep", "delete"), "What happens to a finished file: `keep` or `delete`")
    max_file_bytes: int = _setting(100 * 2**20, whole(1), "Largest file that is accepted")
    max_upload_files: int = _setting(1000, whole(1), "Most files in one upload")
    max_archive_files: int = _setting(10_000, whole(1, 99_999), "Most files in one archive (ZIP, tar, tar.gz)")
    max_archive_bytes: int = _setting(4 * 2**30, whole(1), "Most bytes that one archive may become unpacked")
    max_pixels: int = _setting(
        64_000_000, whole(1), "Largest picture that is decoded, in pixels; of a WebP half as many"
    )

    dicom: bool = _setting(False, flag, "`up` runs the DICOM receiver too (docs/dicom.md)", "0")
    dicom_ae_title: str = _setting("FRACTURE-QUEUE", ae_title, "The receiver's own AE title, by which it is called")
    dicom_host: str = _setting("127.0.0.1", str, "The address that the receiver listens on")
    dicom_port: int = _setting(11112, whole(1, 65535), "The port that the receiver listens on")
    dicom_peers: Peers = _setting(
        Peers(),
        Peers.read,
        "Who may send DICOM: `AETITLE@ADDRESS,...`; an address may be a network (`10.1.0.0/16`), `*` is any title",
        "every program on this machine, and nobody else",
    )
    dicom_tls_certificate: Path = _setting(
        Path(), absolute_path, "File of the receiver's certificate (PEM); set: TLS only", "none: no TLS"
    )
    dicom_tls_key: Path = _setting(Path(), absolute_path, "File of the certificate's key", "none")
    dicom_tls_clients: Path = _setting(
        Path(),
        absolute_path,
        "File of the authorities that senders' certificates must be signed by",
        "none: senders need none",
    )
    dicom_associations: int = _setting(8, whole(1, 100), "Most DICOM associations at once")
    dicom_pdu_bytes: int = _setting(128 * 2**10, whole(4096, 2**24), "Largest piece that senders may send at once")

    def __post_init__(self) -> None:
        home = self.home
        derived: dict[str, Any] = {
            "database_url": self.database_url or sqlite_url(home / "fracture.db"),
            "broker_url": self.broker_url or f"redis+socket://{self.redis_socket}",
            "store_url": self.store_url or f"file://{home / 'store'}",
            "inbox": home / "inbox" if self.inbox == Path() else self.inbox,
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """Show everything but secrets: settings end up in logs and tracebacks."""
        shown = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        for name in ("secret_key", "pseudonym_key", "store_access_key", "store_secret_key"):
            shown[name] = "***" if shown[name] else ""
        addresses = ("database_url", "broker_url", "store_url", "store_endpoint")
        shown |= {name: _masked(shown[name]) for name in addresses}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read every `FRACTURE_` variable; an empty one counts as absent.

        Raises:
            ConfigurationError: Names all variables that cannot be read, and those that do not exist.
        """
        values: dict[str, Any] = {}
        known = {PREFIX + setting.name.upper(): setting for setting in fields(cls)}
        from_files, problems = _secrets_in_files(environ)
        environ = {name: text for name, text in environ.items() if name not in SECRET_FILES} | from_files
        for variable, setting in known.items():
            text = environ.get(variable, "")
            if text == "":
                continue
            try:
                values[setting.name] = setting.metadata["read"](text)
            except ValueError as error:
                problems.append(f"{variable}={_masked(text)!r} {error}.")
        # Anything unknown is probably a typing error.
        for variable in sorted(set(environ) - set(known)):
            if variable.startswith(PREFIX):
                problems.append(f"{variable} is no setting.")
        if problems:
            raise ConfigurationError.of(problems)
        settings = cls(**values)
        settings.check()
        return settings

    def check(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            ConfigurationError: With one sentence for each contradiction.
        """
        problems = []
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            problems.append(
                f"FRACTURE_LEASE_SECONDS ({self.lease_seconds:g}) must be at least twice "
                f"FRACTURE_HEARTBEAT_SECONDS ({self.heartbeat_seconds:g}), or healthy claims run out."
            )
        if 0 < len(self.pseudonym_key) < SHORTEST_KEY:
            problems.append(
                f"FRACTURE_PSEUDONYM_KEY has less than {SHORTEST_KEY} characters: `openssl rand -hex 32` prints a key."
            )
        if (self.dicom_tls_certificate == Path()) != (self.dicom_tls_key == Path()):
            problems.append("FRACTURE_DICOM_TLS_CERTIFICATE and FRACTURE_DICOM_TLS_KEY are of use only together.")
        if self.dicom_tls_clients != Path() and self.dicom_tls_certificate == Path():
            problems.append("FRACTURE_DICOM_TLS_CLIENTS needs FRACTURE_DICOM_TLS_CERTIFICATE.")
        problems += self._problems_of_store()
        own = {"FRACTURE_HOME": self.home, "FRACTURE_STORE_URL": self.store_path, "FRACTURE_MODELS": self.models}
        problems += [
            f"{variable} lies in the inbox {self.inbox}; its files would be taken for radiographs."
            for variable, folder in own.items()
            if folder is not None and folder.is_relative_to(self.inbox)
        ]
        if problems:
            raise ConfigurationError.of(problems)

    def _problems_of_store(self) -> list[str]:
        problems = []
        if self.store_path is None and self.bucket is None:
            problems.append(
                f"FRACTURE_STORE_URL={_masked(self.store_url)!r} is neither a file:// address with an absolute path "
                "nor s3:// with a bucket and, where wished, a prefix of letters, digits and ._=- between slashes."
            )
        if bool(self.store_access_key) != bool(self.store_secret_key):
            problems.append("FRACTURE_STORE_ACCESS_KEY and FRACTURE_STORE_SECRET_KEY belong together; one is missing.")
        if self.store_endpoint and not re.fullmatch(r"https?://[^/@?#]+/?", self.store_endpoint):
            problems.append(
                f"FRACTURE_STORE_ENDPOINT={_masked(self.store_endpoint)!r} is no http:// or https:// "
                "address of a machine."
            )
        return problems

    def with_changes(self, **changes: Any) -> Settings:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    @property
    def processes(self) -> int:
        """How many worker processes to run: one per core that this process may use, unless told."""
        return self.worker_processes or len(os.sched_getaffinity(0))

    @property
    def task_limit_seconds(self) -> float:
        """The hard time limit of one task: it starts its last batch within `drain_seconds`."""
        return self.drain_seconds + self.batch_limit_seconds

    @property
    def visibility_seconds(self) -> float:
        """How long Redis hides an unacknowledged message; above the longest task, or copies run (celery#5935)."""
        return 2 * self.task_limit_seconds + 60

    @property
    def data_path(self) -> Path | None:
        """The folder of data sets, or None when none is set."""
        return None if self.data == Path() else self.data

    @property
    def store_path(self) -> Path | None:
        """The store's folder, or None when the address names no local folder."""
        folder = self.store_url.removeprefix("file://")
        return Path(folder) if self.store_url.startswith("file:///") else None

    @property
    def bucket(self) -> tuple[str, str] | None:
        """The store's bucket and what stands before its keys, or None when the address names no bucket."""
        found = _BUCKET.fullmatch(self.store_url)
        return (found[1], found[2].strip("/")) if found else None

    @property
    def cache(self) -> Path:
        """Copies of a bucket's originals; all of it can be deleted at any time."""
        return self.home / "cache"

    @property
    def processing(self) -> Path:
        """Files taken from the inbox whose work has not ended. A sibling of the inbox, so that renames are atomic."""
        return self._beside_inbox / "processing"

    @property
    def done(self) -> Path:
        """Files whose radiographs have been classified."""
        return self._beside_inbox / "done"

    @property
    def failed(self) -> Path:
        """Files that could not be used, each with a `.reason.txt`."""
        return self._beside_inbox / "failed"

    @property
    def _beside_inbox(self) -> Path:
        """Of an inbox that is only read nothing is moved, and what lies beside it can seldom be written either."""
        return self.home if self.inbox_read_only else self.inbox.parent

    @property
    def logs(self) -> Path:
        """One log file per role."""
        return self.home / "logs"

    @property
    def runtime(self) -> Path:
        """A short folder for sockets: a Unix socket path over 107 bytes is silently cut."""
        place = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return Path("/tmp") / f"fracture-queue-{os.getuid()}-{place}"  # noqa: S108 - mode 0700, owner checked

    @property
    def redis_socket(self) -> Path:
        """The embedded Redis listens here."""
        return self.runtime / "redis.sock"

    @property
    def uses_embedded_redis(self) -> bool:
        """Whether `up` starts Redis itself."""
        return self.broker_url == f"redis+socket://{self.redis_socket}"

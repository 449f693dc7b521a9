import dataclasses
from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.queue import configuration
from core.settings import Settings

EVERYTHING = {
    "FRACTURE_HOME": "/srv/fractures",
    "FRACTURE_DATABASE_URL": "postgresql://reader@db/fractures",
    "FRACTURE_BROKER_URL": "redis://broker:6379/0",
    "FRACTURE_BROKER_PREFIX": "ours:",
    "FRACTURE_STORE_URL": "file:///srv/originals",
    "FRACTURE_STORE_ENDPOINT": "https://minio:9000",
    "FRACTURE_STORE_REGION": "eu-central-1",
    "FRACTURE_STORE_ACCESS_KEY": "fractures",
    "FRACTURE_STORE_SECRET_KEY": "hush",
    "FRACTURE_STORE_CACHE_BYTES": "1000000",
    "FRACTURE_INBOX": "/srv/drop",
    "FRACTURE_MODELS": "/srv/models",
    "FRACTURE_DATA": "/srv/data",
    "FRACTURE_ENGINE": "keras",
    "FRACTURE_HOST": "0.0.0.0",  # noqa: S104
    "FRACTURE_PORT": "8081",
    "FRACTURE_SECRET_KEY": "of the test",
    "FRACTURE_PSEUDONYM_KEY": "0123456789abcdef0123456789abcdef",
    "FRACTURE_KEEP_IDENTIFIERS": "1",
    "FRACTURE_BEHIND_TLS": "1",
    "FRACTURE_READS_PER_MINUTE": "50",
    "FRACTURE_WRITES_PER_MINUTE": "5",
    "FRACTURE_WORKER_PROCESSES": "3",
    "FRACTURE_BATCH_SIZE": "4",
    "FRACTURE_LEASE_SECONDS": "31",
    "FRACTURE_HEARTBEAT_SECONDS": "2.5",
    "FRACTURE_BATCH_LIMIT_SECONDS": "61",
    "FRACTURE_MEMORY_LIMIT_MIB": "512",
    "FRACTURE_DRAIN_SECONDS": "11",
    "FRACTURE_RECONCILE_SECONDS": "6",
    "FRACTURE_BELL_PATIENCE_SECONDS": "7",
    "FRACTURE_STOP_SECONDS": "21",
    "FRACTURE_LOG_FORMAT": "json",
    "FRACTURE_SETTLE_SECONDS": "1.5",
    "FRACTURE_RESCAN_SECONDS": "9",
    "FRACTURE_INBOX_POLLING": "yes",
    "FRACTURE_INBOX_READ_ONLY": "on",
    "FRACTURE_INBOX_DONE": "delete",
    "FRACTURE_MAX_FILE_BYTES": "1000",
    "FRACTURE_MAX_UPLOAD_FILES": "10",
    "FRACTURE_MAX_ARCHIVE_FILES": "20",
    "FRACTURE_MAX_ARCHIVE_BYTES": "70000",
    "FRACTURE_MAX_PIXELS": "5000",
    "FRACTURE_DICOM": "1",
    "FRACTURE_DICOM_AE_TITLE": "OURS",
    "FRACTURE_DICOM_HOST": "0.0.0.0",  # noqa: S104
    "FRACTURE_DICOM_PORT": "104",
    "FRACTURE_DICOM_PEERS": "XRAY1@10.1.2.3",
    "FRACTURE_DICOM_TLS_CERTIFICATE": "/srv/receiver.pem",
    "FRACTURE_DICOM_TLS_KEY": "/srv/receiver.key",
    "FRACTURE_DICOM_TLS_CLIENTS": "/srv/senders.pem",
    "FRACTURE_DICOM_ASSOCIATIONS": "2",
    "FRACTURE_DICOM_PDU_BYTES": "16384",
}


def test_every_setting_is_read_from_its_variable() -> None:
    settings, defaults = Settings.from_env(EVERYTHING), Settings()
    fields = dataclasses.fields(Settings)
    assert {f"FRACTURE_{field.name.upper()}" for field in fields} == set(EVERYTHING)
    for field in fields:
        assert getattr(settings, field.name) != getattr(defaults, field.name), field.name
    assert settings.home == Path("/srv/fractures")
    assert settings.lease_seconds == 31.0
    assert settings.inbox_polling is True


def test_without_variables_everything_is_below_the_home_folder() -> None:
    settings = Settings.from_env({"PATH": "/bin"})
    home = Path.cwd() / "var"
    assert settings.home == home
    assert settings.database_url == f"sqlite:///{home}/fracture.db"
    assert settings.store_path == home / "store"
    assert settings.uses_embedded_redis
    assert {settings.inbox, settings.processing, settings.done, settings.failed} == {
        home / name for name in ("inbox", "processing", "done", "failed")
    }


def test_an_empty_variable_counts_as_absent() -> None:
    assert Settings.from_env({"FRACTURE_PORT": "", "FRACTURE_HOME": ""}) == Settings()


def test_all_problems_are_named_at_once() -> None:
    wrong = {"FRACTURE_PORT": "http", "FRACTURE_ENGINE": "onnx", "FRACTURE_INBOX_POLLING": "maybe"}
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env(wrong)
    for words in ("FRACTURE_PORT='http' is not a whole number", "FRACTURE_ENGINE='onnx'", "FRACTURE_INBOX_POLLING"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("PORT", "0", "is not between 1 and 65535"),
        ("PORT", "8000.5", "is not a whole number"),
        ("BATCH_SIZE", "0", "is not between 1 and 1024"),
        ("MAX_PIXELS", "-1", "is below 1"),
        ("LEASE_SECONDS", "soon", "is not a number of seconds"),
        ("LEASE_SECONDS", "0", "is not between 0.01 seconds and a week"),
        ("LEASE_SECONDS", "nan", "is not between 0.01 seconds and a week"),
        ("LEASE_SECONDS", "inf", "is not between 0.01 seconds and a week"),
        ("BROKER_URL", "nonsense", "is no address of a broker; write redis://HOST:6379/0"),
        ("BROKER_URL", "http://broker:6379", "is no address of a broker"),
        ("INBOX_DONE", "burn", "is none of keep, delete"),
        ("HOME", "~nobody-of-that-name/x", "names the home folder of a user that does not exist"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_range(variable: str, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"FRACTURE_{variable}='.*' {words}"):
        Settings.from_env({f"FRACTURE_{variable}": text})


def test_a_value_that_is_refused_does_not_show_its_password() -> None:
    with pytest.raises(ConfigurationError, match=r"FRACTURE_BROKER_URL='http://:\*\*\*@broker'"):
        Settings.from_env({"FRACTURE_BROKER_URL": "http://:hush@broker"})


def test_an_unknown_variable_is_refused_because_it_is_probably_a_typing_error() -> None:
    with pytest.raises(ConfigurationError, match="FRACTURE_BATCHSIZE is no setting"):
        Settings.from_env({"FRACTURE_BATCHSIZE": "8"})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"FRACTURE_LEASE_SECONDS": "4", "FRACTURE_HEARTBEAT_SECONDS": "3"}, "at least twice"),
        ({"FRACTURE_STORE_URL": "file://relative"}, "is neither a file:// address"),
        ({"FRACTURE_STORE_URL": "s3://"}, "is neither a file:// address"),
        ({"FRACTURE_STORE_URL": "s3://Bucket"}, "is neither a file:// address"),
        ({"FRACTURE_STORE_URL": "s3://bucket/../other"}, "is neither a file:// address"),
        ({"FRACTURE_STORE_URL": "s3://key:hush@bucket"}, r"s3://key:\*\*\*@bucket' is neither a file:// address"),
        ({"FRACTURE_STORE_ACCESS_KEY": "key"}, "belong together; one is missing"),
        ({"FRACTURE_STORE_ENDPOINT": "minio:9000"}, "is no http:// or https:// address"),
        ({"FRACTURE_HOME": "/srv/x", "FRACTURE_INBOX": "/srv"}, "FRACTURE_HOME lies in the inbox"),
        ({"FRACTURE_HOME": "/srv", "FRACTURE_INBOX": "/srv"}, "FRACTURE_HOME lies in the inbox"),
        ({"FRACTURE_INBOX": "/a", "FRACTURE_STORE_URL": "file:///a/b"}, "FRACTURE_STORE_URL lies in the inbox"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Settings.from_env(changes)


def test_secrets_are_not_shown() -> None:
    settings = Settings(
        secret_key="hush-1",
        database_url="postgresql://reader:hush-2@db/x?password=hush-3&sslmode=require",
        broker_url="redis://:hush-4/@broker:6379/0",
        store_access_key="hush-5",
        store_secret_key="hush-6",
    )
    assert "hush" not in repr(settings)
    assert "hush" not in f"{settings}"
    assert "postgresql://reader:***@db/x?password=***&sslmode=require" in repr(settings)
    assert "'sqlite:////srv/fracture.db'" in repr(Settings(home=Path("/srv")))


def test_the_sockets_path_stays_short_however_long_the_home_folder_is() -> None:
    settings = Settings(home=Path("/" + "/".join(["folder"] * 40)))
    assert len(bytes(settings.redis_socket)) < 108
    assert settings.redis_socket != Settings(home=Path("/srv")).redis_socket


def test_redis_hides_a_message_for_longer_than_its_task_may_run() -> None:
    for seconds in (1.0, 60.0, 3600.0):
        settings = Settings(batch_limit_seconds=seconds, drain_seconds=seconds)
        celery = configuration(settings)
        assert celery["broker_transport_options"]["visibility_timeout"] > celery["task_time_limit"]


def test_ticks_of_the_clock_that_nobody_takes_expire() -> None:
    celery = configuration(Settings(reconcile_seconds=7))
    tick = celery["beat_schedule"]["reconcile"]
    assert tick["schedule"].run_every.total_seconds() == 7
    # Long enough for clocks that differ, short enough that none pile up.
    assert 60 <= tick["options"]["expires"] <= 3600


def test_secrets_may_be_in_files(tmp_path: Path) -> None:
    key, url = tmp_path / "key", tmp_path / "url"
    key.write_text("of the test\n")
    url.write_text("postgresql://fracture:hidden@postgres/fracture\n")
    found = Settings.from_env({"FRACTURE_SECRET_KEY_FILE": str(key), "FRACTURE_DATABASE_URL_FILE": str(url)})
    assert (found.secret_key, found.database_url) == ("of the test", "postgresql://fracture:hidden@postgres/fracture")
    assert "hidden" not in repr(found)


def test_a_secret_file_that_cannot_be_read_or_is_one_too_many_is_told(tmp_path: Path) -> None:
    key = tmp_path / "key"
    with pytest.raises(ConfigurationError, match=r"FRACTURE_SECRET_KEY_FILE.* cannot be read: No such file"):
        Settings.from_env({"FRACTURE_SECRET_KEY_FILE": str(key)})
    key.write_text("one")
    with pytest.raises(ConfigurationError, match="are both set"):
        Settings.from_env({"FRACTURE_SECRET_KEY_FILE": str(key), "FRACTURE_SECRET_KEY": "another"})

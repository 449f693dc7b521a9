from __future__ import annotations

import logging
import re
import stat
import threading
from urllib.parse import quote

import pytest
from markupsafe import escape
from sqlalchemy import select

from core.errors import ConfigurationError
from core.home import prepare_home
from core.settings import Settings
from core.tables import ArrivalRow
from tests.conftest import draw_radiograph
from tests.unit.web_fixtures import Site
from web.door import is_loopback
from web.secret import secret_key

NASTY = [
    "<script>alert(1)</script>.png",
    '"><img src=x onerror=alert(1)>.png',
    "' onmouseover='alert(1).png",
    "{{ 7 * 7 }}.png",
    "</title><svg onload=alert(1)>.png",
    "=HYPERLINK(1).png",
]


@pytest.mark.parametrize(
    "address", ["/", "/results", "/queue", "/api/v1/queue", "/healthz", "/nowhere", "/static/absent.js"]
)
def test_every_answer_carries_the_security_headers(site: Site, address: str) -> None:
    headers = site.client.get(address).headers

    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Cache-Control" in headers
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("name", NASTY)
def test_a_name_is_never_markup(site: Site, name: str) -> None:
    answer = site.upload((name, draw_radiograph(1)), (name, b"rejected"), to="/submissions", name=name)
    site.fail("bug", name)

    for address in (answer.headers["Location"], "/results", f"/results?name={quote(name)}", "/radiographs/1"):
        text = site.client.get(address).text
        assert str(escape(name)) in text
        assert not set(name) & set("<>\"'") or name not in text
        assert not re.search(r"<script>|<img src=x|<svg onload|onmouseover='", text)
        assert "49.png" not in text


@pytest.mark.parametrize(
    "query", ["label=%3Cscript%3Ealert(1)%3C/script%3E", "name=%22%3E%3Cscript%3E", "status=%3Cb%3E"]
)
def test_a_parameter_is_never_markup(site: Site, query: str) -> None:
    text = site.client.get(f"/results?{query}").text

    assert not re.search(r"<script>|<b>", text)


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "a/../../b.png", "x\x00y.png"]
)
def test_a_name_is_never_a_path(site: Site, name: str) -> None:
    answer = site.upload((name, draw_radiograph(1)))

    assert answer.status_code == 202
    written = {path.name for path in site.settings.home.parent.rglob("*") if path.is_file()}
    assert not written & {"passwd", "boot.ini", "b.png"}
    with site.database.reading() as session:
        [kept] = session.scalars(select(ArrivalRow.name)).all()
    assert "\x00" not in kept


def test_static_files_stay_inside_their_folder(site: Site) -> None:
    for address in ("/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/%2Fetc/passwd"):
        assert site.client.get(address, follow_redirects=True).status_code == 404


@pytest.mark.parametrize("address", ["/submissions", "/api/v1/radiographs"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of localhost
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "null"},
        {"Origin": "http://[broken"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    ],
)
def test_a_write_from_another_site_is_refused(site: Site, address: str, headers: dict[str, str]) -> None:
    answer = site.upload(("hand.png", draw_radiograph(1)), to=address, headers=headers)

    assert answer.status_code == 403
    assert site.rung == []


def test_a_retry_from_another_site_is_refused(site: Site) -> None:
    site.take_in(1)
    site.fail()

    for address in ("/radiographs/1/retry", "/api/v1/radiographs/1/retry"):
        assert site.client.post(address, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert site.claim() is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost"},
    ],
)
def test_our_own_page_and_programs_may_write(site: Site, headers: dict[str, str]) -> None:
    assert site.upload(("hand.png", draw_radiograph(1)), headers=headers).status_code == 202


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "[::2]",
        "[bro",
        "",
        "10.0.0.7",
    ],
)
def test_a_host_that_is_not_this_machine_is_refused(site: Site, host: str) -> None:
    for address in ("/results", "/api/v1/radiographs", "/healthz"):
        assert site.client.get(address, headers={"Host": host}).status_code == 403


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8123", "127.0.0.1:8000", "127.0.0.2", "[::1]:8000", "LOCALHOST"]
)
def test_every_name_of_this_machine_is_answered(site: Site, host: str) -> None:
    assert site.client.get("/healthz", headers={"Host": host}).status_code == 200


def test_an_installation_for_other_machines_answers_to_any_name(settings: Settings) -> None:
    site = Site(settings.with_changes(host="0.0.0.0", secret_key="chosen"))  # noqa: S104

    assert site.client.get("/healthz", headers={"Host": "radiology.example"}).status_code == 200
    answer = site.upload(
        ("a.png", draw_radiograph(1)), headers={"Host": "radiology.example", "Origin": "http://x.example"}
    )
    assert answer.status_code == 403


def test_names_are_not_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    site.broker_away = True

    site.upload(("Jane Doe 1970.png", draw_radiograph(1)), ("John Roe.png", b"bad"))
    site.client.get("/results?name=Jane+Doe")
    site.client.get("/results?name=Jane+Doe&label=%00")

    assert not re.search("Jane|John|Doe|Roe", caplog.text)


def test_the_secret_key_is_made_once_for_its_owner_alone(settings: Settings) -> None:
    prepare_home(settings)
    keys: list[str] = []
    threads = [threading.Thread(target=lambda: keys.append(secret_key(settings))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(keys) == 8
    [key] = set(keys)
    assert len(key) == 64
    assert stat.S_IMODE((settings.home / "secret_key").stat().st_mode) == 0o600
    assert [path.name for path in settings.home.iterdir() if "secret" in path.name] == ["secret_key"]


def test_a_chosen_secret_key_is_not_written_anywhere(settings: Settings) -> None:
    assert secret_key(settings.with_changes(secret_key="chosen")) == "chosen"
    assert not settings.home.exists()


def test_a_secret_key_that_cannot_be_kept_is_a_sentence(settings: Settings) -> None:
    settings.home.parent.mkdir(parents=True, exist_ok=True)
    settings.home.write_text("a file where the folder should be")

    with pytest.raises(ConfigurationError, match="FRACTURE_SECRET_KEY"):
        secret_key(settings)


def test_an_empty_secret_key_is_refused(settings: Settings) -> None:
    prepare_home(settings)
    (settings.home / "secret_key").write_text("\n")

    with pytest.raises(ConfigurationError, match="is empty"):
        secret_key(settings)


def test_what_counts_as_this_machine() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "Localhost."))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "", "192.168.1.4", "example.org"))  # noqa: S104

"""Requests that no client should send: each is a pure function of a seed, a number and the application's routes."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote_from_bytes

import numpy as np
from werkzeug.routing import Map, Rule

from tests.fuzz.damage import ANY, damaged
from tests.fuzz.names import odd_name
from tests.fuzz.originals import originals

Rng = np.random.Generator

_BOUNDARY = b"----fuzz"
_TYPES = (
    *(
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="',
        "multipart/mixed; boundary=x",
    ),
    *(
        "multipart/form-data; boundary=" + "x" * 5000,
        "multipart/form-data; boundary=\x01",
        "multipart/form-data; boundary=--",
    ),
    *(
        "application/json",
        "application/x-www-form-urlencoded",
        "text/plain",
        "",
        ";",
        "/",
        "image/png; charset=\x80",
        "a" * 5000,
    ),
)
_PARAMETERS = (
    *("label", "min_confidence", "max_confidence", "status", "source", "since", "until", "name", "sha256", "model"),
    *("submission", "limit", "before_id", "size", "window", "submission", "", "nothing", "label[]", "\0", "page"),
)
_VALUES = (
    *(
        "",
        "0",
        "1",
        "-1",
        "3",
        "50",
        "500",
        "501",
        "1e3",
        "0x10",
        "٣",
        "1_000",
        "9" * 19,
        "9" * 30,
        str(2**63 - 1),
        str(2**63),
    ),
    *("nan", "inf", "-inf", "0.5", "1.0000001", "1e-400", "1e400", "true", "null", "[]", "{}", "%", "%%", "_", "\\"),
    *(
        "spiral",
        "kind",
        "kind/1.0.0",
        "kind/",
        "/",
        "done",
        "waiting",
        "DONE",
        "api",
        "web",
        "a" * 64,
        "A" * 64,
        "a" * 1025,
    ),
    *(
        "2026-01-31",
        "2026-01-31T08:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-13-01",
        "24:00",
    ),
    *(
        "40,200",
        "200,40",
        "0,0",
        "0,255",
        "nan,1",
        "1,2,3",
        ",",
        "0,1e-320",
        "'; DROP TABLE jobs; --",
        "<script>",
        "\0",
        "\n",
    ),
    *(
        "\N{BONE}",
        "\ud800",
        "\N{RIGHT-TO-LEFT OVERRIDE}",
        "é",
        "%s%n",
        "{0.__class__}",
        "../../etc/passwd",
        "\x7f",
        "\x85",
    ),
)
_HEADERS = {
    "Accept": ("*/*", "application/json", "text/html", "", ",", "text/html;q=x", "a/b;q=-1", "é"),
    "If-None-Match": ("*", '"x"', "W/", ",,,", '"' * 50),
    "If-Modified-Since": ("yesterday", "Sat, 31 Jan 99999 00:00:00 GMT", ""),
    "Range": ("bytes=0-", "bytes=5-1", "bytes=-1", "bytes=a-b", "bytes=0-1,3-4", "lines=1"),
    "Origin": ("null", "http://localhost", "http://[", "http://evil.example", ""),
    "Host": ("localhost", "localhost:99999", "[::1", "evil.example", "local host", "localhost\x80"),
    "Cookie": ("session=x", "=;=", "session=" + "a" * 3000),
    "Content-Length": ("0", "-1", "10", "99999999999", "x"),
    "Content-Encoding": ("gzip", "x"),
    "Transfer-Encoding": ("chunked", "gzip"),
    "X-HTTP-Method-Override": ("DELETE",),
}


@dataclass(frozen=True)
class Sent:
    """One request."""

    method: str
    path: str  # percent-encoded
    query: str
    headers: dict[str, str]
    body: bytes


def odd_request(seed: int, number: int, routes: Map) -> Sent:
    """Return one request: to an upload with a damaged body, or to any route with odd parameters."""
    rng = np.random.default_rng([seed, 3, number])
    rules = sorted(routes.iter_rules(), key=lambda rule: (rule.rule, rule.endpoint))
    posts = [rule for rule in rules if "POST" in (rule.methods or ())]
    uploads = [rule for rule in posts if not rule.arguments]
    chosen = rules[rng.integers(len(rules))]
    match rng.integers(4):
        case 0 | 1:
            rule = uploads[rng.integers(len(uploads))]
            kind, body = _upload(rng, seed, number)
            headers = {"Content-Type": kind, **_odd_headers(rng, one_in=8)}
            return Sent("POST", _path(rng, rule), _query(rng) if rng.integers(4) == 0 else "", headers, body)
        case 2:
            methods = sorted(chosen.methods or {"GET"})
            method = methods[rng.integers(len(methods))]
        case _:
            method = ("GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE")[rng.integers(8)]
    body = rng.bytes(int(rng.integers(50))) if rng.integers(4) == 0 else b""
    return Sent(method, _path(rng, chosen), _query(rng), _odd_headers(rng, one_in=3), body)


def _path(rng: Rng, rule: Rule) -> str:
    path = rule.rule
    for name in sorted(rule.arguments):
        value = (
            "1",
            "2",
            "3",
            "0",
            "007",
            "9" * 19,
            str(2**63 - 1),
            "٣",
            "-1",
            "%00",
            "a.css",
            "..%2f..%2fapp.py",
            "%ff",
        )
        odd = quote_from_bytes(odd_name(rng)) if rng.integers(8) == 0 else value[rng.integers(len(value))]
        path = "/".join(odd if part.startswith("<") and part.endswith(f"{name}>") else part for part in path.split("/"))
    return path + ("", "", "", "", "", "/", "%00", "//", "?", ";x")[rng.integers(10)]


def _query(rng: Rng) -> str:
    pairs = []
    for _ in range(rng.integers(4)):
        name = _PARAMETERS[rng.integers(len(_PARAMETERS))]
        value = _VALUES[rng.integers(len(_VALUES))]
        written = [quote_from_bytes(text.encode("utf-8", "surrogatepass")) for text in (name, value)]
        pairs.append("=".join(written) if rng.integers(8) else "".join(written))
        if rng.integers(8) == 0:
            pairs.append(pairs[-1])
    return ("&" if rng.integers(8) else ";").join(pairs) + ("", "", "", "%ff", "%", "&&=")[rng.integers(6)]


def _odd_headers(rng: Rng, *, one_in: int) -> dict[str, str]:
    if rng.integers(one_in):
        return {}
    name = sorted(_HEADERS)[rng.integers(len(_HEADERS))]
    return {name: _HEADERS[name][rng.integers(len(_HEADERS[name]))]}


def _upload(rng: Rng, seed: int, number: int) -> tuple[str, bytes]:
    """Return a content type and a form: sound or not in its files, structure, or claims."""
    parts = []
    for place in range(rng.choice([0, 1, 1, 2, 5])):
        data = damaged(seed, 10**9 + 10 * number + place) if rng.integers(2) else originals()[number % 50][1]
        parts.append(_part(rng, b"files" if rng.integers(16) else odd_name(rng), odd_name(rng, only_files=False), data))
    for field in ("name", "submission"):
        if rng.integers(4) == 0:
            value = _VALUES[rng.integers(len(_VALUES))].encode("utf-8", "surrogatepass")
            parts.append(_part(rng, field.encode(), None, value))
    body = b"".join(parts) + b"--" + _BOUNDARY + b"--\r\n"
    if rng.integers(2):
        body = ANY[rng.integers(len(ANY))](rng, body)
    kind = f"multipart/form-data; boundary={_BOUNDARY.decode()}"
    return kind if rng.integers(6) else _TYPES[rng.integers(len(_TYPES))], body


def _part(rng: Rng, field: bytes, filename: bytes | None, data: bytes) -> bytes:
    disposition = b'Content-Disposition: form-data; name="' + field + b'"'
    if filename is not None:
        written = (b'; filename="' + filename + b'"', b"; filename*=UTF-8''" + quote_from_bytes(filename).encode())
        disposition += written[rng.integers(2)]
    lines = [b"--" + _BOUNDARY, disposition]
    match rng.integers(8):
        case 0:
            lines.append(b"Content-Type: " + _TYPES[rng.integers(len(_TYPES))].encode("latin-1"))
        case 1:
            lines.append(b"Content-Transfer-Encoding: base64")
        case 2:
            lines.append(b"X: " + b"y" * 70_000)
        case 3:
            del lines[1]
    return b"\r\n".join([*lines, b"", data, b""])

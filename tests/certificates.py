"""Certificates made at test time by `openssl`, each signed by itself: whoever trusts one trusts that one alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.conftest import skip_at_home


def make_certificates(folder: Path, *names: str) -> None:
    """Write NAME.pem and NAME.key for each name."""
    if shutil.which("openssl") is None:
        skip_at_home("certificates are made by the command openssl, which is not installed")
    for name in names:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}"),
                *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            ],
            cwd=folder,
            check=True,
            capture_output=True,
        )

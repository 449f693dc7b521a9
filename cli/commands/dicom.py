"""`fracture-queue dicom`."""

from __future__ import annotations

from importlib.util import find_spec

import click

from cli.environment import settings_here
from core.errors import ConfigurationError


@click.command()
def dicom() -> None:
    """Receive DICOM images from scanners and archives (C-STORE) until stopped; `up` starts it where FRACTURE_DICOM=1.

    Example: FRACTURE_DICOM_PEERS=XRAY1@10.1.2.3 FRACTURE_DICOM_HOST=0.0.0.0 fracture-queue dicom
    """
    if find_spec("pynetdicom") is None:
        raise ConfigurationError("The DICOM receiver needs pynetdicom: pip install 'fracture-queue[dicom-net]'.")
    from core.logs import configure_logging
    from worker.dicom.role import run_dicom

    settings = settings_here()
    configure_logging("dicom", settings.log_format)
    run_dicom(settings)

"""The table of `docs/dicom-profile.md`: every element of the profile, and what becomes of it here."""

from __future__ import annotations

from pydicom.datadict import dictionary_description, dictionary_has_tag, dictionary_VR
from pydicom.tag import Tag

from core.dicom.profile import action_for, actions

_PATIENT = (0x00100010, 0x00100020)


def profile_rows() -> list[str]:
    rows = []
    for number in sorted(actions()):
        tag = Tag(number)
        if not dictionary_has_tag(tag):  # newer than the dictionary, and removed as all that is unknown
            continue
        done = action_for(tag, dictionary_VR(tag).split(" or ")[0])
        words = "replaced by the patient's keyed hash" if number in _PATIENT else done
        rows.append(f"| ({tag.group:04X},{tag.element:04X}) | {dictionary_description(tag)} | {words} |")
    return rows

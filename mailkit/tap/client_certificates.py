"""The table ``[client-certificates]`` of a settings file: whose clients' certificates are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mailkit.auth.certificates import CertificateNames
from mailkit.tap.errors import SettingError

_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}\Z")


def parse_client_certificates(table: Mapping[str, Any]) -> CertificateNames:
    """What a table says.

    :raises SettingError: a key is not known, or a value is none for it.
    """
    names = CertificateNames()
    for key, value in table.items():
        if key == "names":
            texts = [value] if isinstance(value, str) else value
            if not isinstance(texts, list) or not {*map(str, texts)} <= {"email", "common-name"}:
                raise SettingError('names must be "email", "common-name", or an array of them')
            names = names._replace(emails="email" in texts, common_name="common-name" in texts)
        elif key == "fingerprints":
            if not isinstance(value, dict):
                raise SettingError("fingerprints must be a table of accounts")
            for fingerprint, account in value.items():
                if not _FINGERPRINT.match(fingerprint):
                    raise SettingError(f"{fingerprint!r} is no SHA-256 of a certificate")
                if not isinstance(account, str) or not account:
                    raise SettingError(f"fingerprints: {fingerprint!r} must have an account")
            names = names._replace(fingerprints=value)
        else:
            raise SettingError(f"there is no {key!r}; known are fingerprints, names")
    return names

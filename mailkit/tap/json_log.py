"""The log as JSON: ``twistd --logger mailkit.tap.json_log.observe ...``."""

from __future__ import annotations

import sys

from twisted.logger import ILogObserver, jsonFileLogObserver


def observe() -> ILogObserver:
    """Writes each event to the standard output, as one line of JSON."""
    return jsonFileLogObserver(sys.stdout, recordSeparator="")

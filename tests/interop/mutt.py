"""mutt, which logs in to an IMAP server and quits."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.interop.test_imap_clients import run_in_terminal

#: Why it cannot.
MISSING = None if shutil.which("mutt") else "mutt is not installed"


def open_inbox(directory: Path, server: str, *settings: str) -> int:
    """Open a server's INBOX; how the program ends.

    :param server: such as ``imaps://127.0.0.1:993``.
    :param settings: ``name="value"``.
    """
    path = directory / "muttrc"
    lines = [
        *(f'folder="{server}/"', f'spoolfile="{server}/INBOX"'),
        *("wait_key=no", "sleep_time=0", "quit=yes", "ssl_verify_host=no"),
        *settings,
    ]
    if not server.startswith("imaps:"):
        lines += ["ssl_starttls=no", "ssl_force_tls=no"]
    path.write_text("".join(f"set {line}\n" for line in lines) + 'push "<quit>"\n')
    return run_in_terminal(["mutt", "-n", "-F", str(path)], str(directory))

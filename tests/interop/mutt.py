"""mutt, which logs in to an IMAP server and quits, or copies a message from a POP3 server."""

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
    lines = [f'folder="{server}/"', f'spoolfile="{server}/INBOX"', *settings]
    return _run(directory, lines, server.startswith("imaps:"), "<quit>")


def copy_message(directory: Path, server: str, target: Path, *settings: str) -> int:
    """Copy the first message of a maildrop into a file; how the program ends.

    :param server: such as ``pops://127.0.0.1:995``.
    """
    lines = [
        *(f'folder="{directory}"', f'spoolfile="{server}/"', "mbox_type=mbox"),
        *("confirmcreate=no", "confirmappend=no", "pop_delete=no", *settings),
    ]
    keys = f"<copy-message><kill-line>{target}<enter><quit>"
    return _run(directory, lines, server.startswith("pops:"), keys)


def _run(directory: Path, lines: list[str], tls: bool, keys: str) -> int:
    path = directory / "muttrc"
    lines += ["wait_key=no", "sleep_time=0", "quit=yes", "ssl_verify_host=no"]
    if not tls:
        lines += ["ssl_starttls=no", "ssl_force_tls=no"]
    path.write_text("".join(f"set {line}\n" for line in lines) + f'push "{keys}"\n')
    return run_in_terminal(["mutt", "-n", "-F", str(path)], str(directory))

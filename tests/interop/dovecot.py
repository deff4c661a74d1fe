"""Dovecot's LMTP on a free port of loopback and a UNIX socket: nothing of the machine's mail is used."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support import HOST, PATIENCE, free_ports, listens

#: Why a test is skipped; empty where it can be run.
MISSING = (
    "dovecot-lmtpd is not installed"
    if shutil.which("dovecot") is None or not Path("/usr/lib/dovecot/lmtp").exists()
    else "Dovecot wants to be started as root"
    if os.geteuid() != 0
    else ""
)
#: Who owns the mail: nobody.
_UID = 65534

_CONFIGURATION = """\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/dovecot.log
protocols = lmtp
listen = 127.0.0.1
ssl = no
auth_mechanisms = plain
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/Maildir
hostname = dovecot.example.test
postmaster_address = postmaster@example.test
lmtp_save_to_detail_mailbox = no
mail_plugins = quota
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage=100K
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {directory}/passwd
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {directory}/passwd
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
  unix_listener {directory}/lmtp {{
    mode = 0666
  }}
}}
"""


class Dovecot:
    """Delivers to the users that it is given, each into a Maildir of at most 100 KiB."""

    def __init__(self, *users: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="dovecot-"))
        self.directory.chmod(0o755)
        (self.port,) = free_ports(1)
        #: Path of the UNIX socket.
        self.socket = str(self.directory / "lmtp")
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("run", "state", "home"):
            (self.directory / name).mkdir()
        os.chown(self.directory / "home", _UID, _UID)
        (self.directory / "passwd").write_text(
            "".join(
                f"{user}:{{PLAIN}}x:{_UID}:{_UID}::{self.directory}/home/{user}::\n"
                for user in users
            )
        )
        (self.directory / "dovecot.conf").write_text(
            _CONFIGURATION.format(directory=self.directory, port=self.port)
        )

    @property
    def log(self) -> str:
        path = self.directory / "dovecot.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def messages(self, user: str) -> list[bytes]:
        """What the user has got, in no order; line ends are bare LF."""
        directory = self.directory / "home" / user / "Maildir" / "new"
        return [path.read_bytes() for path in directory.iterdir()] if directory.exists() else []

    def start(self) -> Dovecot:
        """Start it and wait until it listens.

        :raises AssertionError: it does not.
        """
        with open(self.directory / "output", "ab") as output:
            self._process = subprocess.Popen(
                ["dovecot", "-F", "-c", str(self.directory / "dovecot.conf")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        give_up = time.monotonic() + PATIENCE
        while not listens(self.port):
            if self._process.poll() is not None or time.monotonic() > give_up:
                said = (self.directory / "output").read_text("utf-8", "replace") + self.log
                self.stop()
                raise AssertionError(f"Dovecot did not start on {HOST}:\n{said}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """End it and remove all that it has written."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(PATIENCE)
        shutil.rmtree(self.directory, ignore_errors=True)

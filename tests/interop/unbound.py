"""An Unbound of our own on loopback, which validates by DNSSEC zones that ldns has signed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support import HOST, PATIENCE, free_ports, listens

_PROGRAMS = {"unbound": "unbound", "ldns-keygen": "ldnsutils", "ldns-signzone": "ldnsutils"}
#: Why a test is skipped; empty where Unbound can be run.
MISSING = ", ".join(
    f"{package} is not installed"
    for program, package in _PROGRAMS.items()
    if shutil.which(program) is None
)

_SERVER = """\
server:
  directory: "{directory}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  interface: {host}@{port}
  access-control: 127.0.0.0/8 allow
  local-zone: "test." nodefault
  module-config: "validator iterator"
remote-control:
  control-enable: no
"""
_ZONE = """\
auth-zone:
  name: "{name}"
  zonefile: "{file}"
  for-downstream: no
  for-upstream: yes
"""
_HEAD = """\
$TTL 60
{name}. IN SOA ns.{name}. host.{name}. 1 60 60 600 60
{name}. IN NS ns.{name}.
ns.{name}. IN A 127.0.0.1
"""


class Unbound:
    """A resolver whose only zones are those of the test, which stops it.

    :param directory: for its files.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (self.port,) = free_ports(1)
        self._config = _SERVER.format(directory=directory, host=HOST, port=self.port)
        self._process: subprocess.Popen[bytes] | None = None

    def add_zone(self, name: str, records: Sequence[str], *, signed: bool = True) -> Path:
        """Serve a zone; Unbound believes the keys of those that are signed.

        :param records: lines of a zone file.
        :returns: the file that is served, which may be forged until :meth:`start`.
        """
        file = self.directory / f"{name}.zone"
        file.write_text("\n".join([_HEAD.format(name=name), *records, ""]))
        if signed:
            key = self._run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", name).strip()
            self._run("ldns-signzone", file.name, key)
            self._config += f'server:\n  trust-anchor-file: "{key}.ds"\n'
            file = file.with_name(f"{file.name}.signed")
        self._config += _ZONE.format(name=name, file=file.name)
        return file

    def start(self) -> Unbound:
        config = self.directory / "unbound.conf"
        config.write_text(self._config)
        log = (self.directory / "unbound.log").open("wb")
        with log:
            self._process = subprocess.Popen(
                ["unbound", "-d", "-c", str(config)], stdout=log, stderr=log
            )
        give_up = time.monotonic() + PATIENCE
        while not listens(self.port):
            if self._process.poll() is not None or time.monotonic() > give_up:
                self.stop()
                raise AssertionError((self.directory / "unbound.log").read_text())
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            arguments, cwd=self.directory, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

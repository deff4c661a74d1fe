"""A Kerberos realm of our own: MIT's KDC, in a private directory on loopback."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import HOST, PATIENCE, free_ports

REALM = "EXAMPLE.TEST"
#: Where Debian has `python3-gssapi`; nothing else of what is there is wanted.
DEBIAN = Path("/usr/lib/python3/dist-packages")
PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")

# Nobody is looked up in DNS.
_CLIENT = """
[libdefaults]
  default_realm = {realm}
  dns_lookup_realm = false
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
  rdns = false
  qualify_shortname = ""
  udp_preference_limit = 1
[realms]
  {realm} = {{
    kdc = {host}:{port}
  }}
[domain_realm]
  localhost = {realm}
"""
_SERVER = """
[kdcdefaults]
  kdc_listen = {host}:{port}
  kdc_tcp_listen = {host}:{port}
[realms]
  {realm} = {{
    database_name = {directory}/principal
    key_stash_file = {directory}/stash
    acl_file = {directory}/acl
    max_life = 1h
  }}
[logging]
  default = FILE:{directory}/kdc.log
"""


def missing() -> str | None:
    """Why there cannot be one."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for program in PROGRAMS:
        if shutil.which(program, path=path) is None:
            return f"{program} is not installed"
    return None


def find_library(directory: Path) -> str | None:
    """Where ``gssapi`` can be imported from, by children too; None for nowhere.

    Debian's is taken where it is for this Python, as the one of PyPI must be compiled.

    :param directory: an empty one.
    """
    found = importlib.util.find_spec("gssapi")
    if found is not None and found.origin:
        return str(Path(found.origin).parent.parent)
    version = f"cpython-{sys.version_info.major}{sys.version_info.minor}-"
    if not any(version in each.name for each in (DEBIAN / "gssapi" / "raw").glob("*.so")):
        return None
    directory.mkdir(parents=True)
    for name in ("gssapi", "decorator.py"):
        (directory / name).symlink_to(DEBIAN / name)
    return str(directory)


class KDC:
    """The realm.

    :param directory: an empty directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "output"
        directory.mkdir(parents=True)
        (self.port,) = free_ports(1)
        facts = {"realm": REALM, "host": HOST, "port": self.port, "directory": directory}
        (directory / "krb5.conf").write_text(_CLIENT.format(**facts))
        (directory / "kdc.conf").write_text(_SERVER.format(**facts))
        #: For everything that is to use the realm.
        self.environment = {
            "KRB5_CONFIG": str(directory / "krb5.conf"),
            "KRB5CCNAME": f"FILE:{directory}/tickets",
            "KRB5RCACHEDIR": str(directory),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def _run(self, *arguments: str, input: str = "") -> None:
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        done = subprocess.run(
            arguments,
            input=input,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={
                **os.environ,
                **self.environment,
                "PATH": path,
                "KRB5_KDC_PROFILE": str(self.directory / "kdc.conf"),
            },
        )
        if done.returncode:
            raise AssertionError(f"{arguments}: {done.stdout}{done.stderr}")

    def start(self) -> KDC:
        """Make the realm, and start its KDC."""
        self._run("kdb5_util", "-r", REALM, "create", "-s", "-W", "-P", "master")
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        program = shutil.which("krb5kdc", path=path)
        assert program is not None
        with open(self.log, "wb") as output:
            self._process = subprocess.Popen(
                [program, "-n", "-r", REALM],
                stdout=output,
                stderr=output,
                env={
                    **os.environ,
                    **self.environment,
                    "KRB5_KDC_PROFILE": str(self.directory / "kdc.conf"),
                },
            )
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def fill(self, users: Mapping[str, str], services: Sequence[str]) -> str:
        """Put users and their passwords in.

        :returns: a keytab with the keys of services such as ``imap/localhost``.
        """
        keytab = str(self.directory / "keytab")
        lines = [f'addprinc -pw "{password}" {user}' for user, password in users.items()]
        for name in services:
            lines += [f"addprinc -randkey {name}", f"ktadd -k {keytab} {name}"]
        self._run("kadmin.local", "-r", REALM, input="".join(f"{line}\n" for line in lines))
        return keytab

    def get_ticket(self, name: str, password: str) -> None:
        """Log in, as a user of the machine would in the morning."""
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                self._run("kinit", f"{name}@{REALM}", input=f"{password}\n")
            except AssertionError as error:
                # It does not listen yet.
                if "Cannot contact any KDC" not in str(error) or time.monotonic() > give_up:
                    raise
            else:
                return
            time.sleep(0.05)

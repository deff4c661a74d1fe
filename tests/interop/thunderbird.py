"""Thunderbird without a window, driven by Mozilla's Marionette protocol.

https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.support import HOST, PATIENCE

#: What keeps it from asking people, and from looking for anything outside.
_QUIET = {
    "marionette.port": 0,
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.shell.checkDefaultClient": False,
    "mail.spotlight.firstRunDone": True,
    "mail.winsearch.firstRunDone": True,
    "mailnews.database.global.indexer.enabled": False,
    "mailnews.start_page.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.type": 0,
    "services.settings.server": f"http://{HOST}:9/",
}
_HELPERS = Path(__file__).with_name("thunderbird.js").read_text()


class Thunderbird:
    """A Thunderbird with a profile of its own.

    :param directory: an empty one, for the profile and the log.
    :param settings: preferences of the profile.
    :raises SkipTest: it is not installed.
    """

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        program = shutil.which("thunderbird")
        if program is None:
            raise SkipTest("needs the Debian package thunderbird")
        profile = directory / "profile"
        profile.mkdir(parents=True)
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in {**_QUIET, **settings}.items()
        ]
        (profile / "user.js").write_text("".join(lines))
        self._log = directory / "thunderbird.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(program, "--headless", "--marionette", "--remote-allow-system-access"),
                    *("--no-remote", "--profile", str(profile)),
                ],
                env={**os.environ, "HOME": str(directory)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # It starts others, which must end with it.
                start_new_session=True,
            )
        self._socket: socket.socket | None = None
        self._input = b""
        self._number = 0
        try:
            self._connect(profile / "MarionetteActivePort")
        except BaseException:
            self.kill()
            raise

    def _connect(self, port_file: Path) -> None:
        give_up = time.monotonic() + PATIENCE
        while not (port_file.exists() and port_file.read_text().strip().isdecimal()):
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise AssertionError(f"Thunderbird did not start:\n{self._log.read_text()}")
            time.sleep(0.05)
        self._socket = socket.create_connection((HOST, int(port_file.read_text())), PATIENCE)
        self._read()
        self._call("WebDriver:NewSession")
        self._call("Marionette:SetContext", value="chrome")
        self._call("WebDriver:SetTimeouts", script=int(PATIENCE * 1000))

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns: JavaScript, below what ``thunderbird.js`` defines.

        :raises AssertionError: it failed, or did not end in time.
        """
        whole = (
            "const [...given] = arguments; const finish = given.pop();"
            f"(async () => {{ {_HELPERS}\n{script} }})().then("
            "value => finish({value}), error => finish({error: `${error}\\n${error.stack}`}));"
        )
        done = self._call(
            "WebDriver:ExecuteAsyncScript", script=whole, args=list(arguments), sandbox="system"
        )
        if "error" in done["value"]:
            raise AssertionError(done["value"]["error"])
        return done["value"].get("value")

    def _call(self, name: str, **parameters: Any) -> dict[str, Any]:
        assert self._socket is not None, "not connected"
        self._number += 1
        octets = json.dumps([0, self._number, name, parameters]).encode()
        self._socket.settimeout(PATIENCE * 2)
        self._socket.sendall(b"%d:%b" % (len(octets), octets))
        _, _, error, result = self._read()
        if error:
            raise AssertionError(f"{name}: {error}")
        return result or {}

    def _read(self) -> Any:
        while b":" not in self._input:
            self._read_more()
        size, _, self._input = self._input.partition(b":")
        while len(self._input) < int(size):
            self._read_more()
        octets, self._input = self._input[: int(size)], self._input[int(size) :]
        return json.loads(octets)

    def _read_more(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(65536)
        if not data:
            raise AssertionError(f"Thunderbird has ended:\n{self._log.read_text()}")
        self._input += data

    def kill(self) -> None:
        """End it with all that it has started."""
        if self._socket is not None:
            self._socket.close()
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait(PATIENCE)

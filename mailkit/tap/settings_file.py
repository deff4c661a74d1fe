"""``--config``: settings from a TOML file, for commands that have several services."""

from __future__ import annotations

from typing import Any, ClassVar

from mailkit._typing import override
from mailkit.tap.config import read_config
from mailkit.tap.extensions import ExtensionOptions
from mailkit.tap.ftp_settings import FTPOptions
from mailkit.tap.hooks import HookOptions
from mailkit.tap.imap_settings import IMAPOptions
from mailkit.tap.milters import MilterOptions
from mailkit.tap.options import MailOptions
from mailkit.tap.pop3_settings import POP3Options
from mailkit.tap.relay import OutboundOptions
from mailkit.tap.routes import RouteOptions, table_routes
from mailkit.tap.service_tls import read_certificates
from mailkit.tap.sharing import SharingOptions
from mailkit.tap.user_bases import parse_table

#: Tables that are judged later, and the attributes that keep them.
_TABLES = {
    "checks": "checks",
    "client-certificates": "client_certificates",
    "gssapi": "gssapi",
    "hook-settings": "hook_table",
    "imap-clients": "imap_clients",
    "login-guard": "login_guard",
    "milter-settings": "milter_table",
    "queue": "queue",
    "smtp-extensions": "smtp_extensions",
    "smtp-limits": "smtp_limits",
}


class SettingsFileOptions(MailOptions):
    """Settings that may be made in a file, too."""

    optParameters: ClassVar[list[list[Any]]] = [
        [
            "config",
            None,
            None,
            "TOML file with the same settings by the same names; options go before it",
        ],
    ]

    @override
    def postOptions(self) -> None:
        if self["config"] is not None:
            self._read_config(self["config"])
        self.settle()
        super().postOptions()

    def settle(self) -> None:
        """Take what this command has for settings that nobody has made."""

    def _read_config(self, path: str) -> None:
        """Take each setting from the file that no option has made."""
        kinds: list[Any] = [
            MailOptions,
            IMAPOptions,
            POP3Options,
            FTPOptions,
            SharingOptions,
            HookOptions,
            MilterOptions,
            ExtensionOptions,
            RouteOptions,
            OutboundOptions,
        ]
        kinds = [kind for kind in kinds if isinstance(self, kind)]
        values = {name for kind in kinds for name, *_ in kind.optParameters}
        flags = {name for kind in kinds for name, *_ in getattr(kind, "optFlags", ())}
        with self.naming("config"):
            lists = {*self.endpoint_options, *self._lists()}
            settings = read_config(
                path,
                lists,
                values,
                flags,
                {"routes", *_TABLES},
                {"tls", "auth"},
            )
        for key, value in settings.items():
            if self._made_by_option(key):
                continue
            self.places[key] = f"{path}: {key}"
            if key == "auth":
                self._add_auth(value)
            elif key == "tls":
                with self.naming("tls"):
                    self.certificates += read_certificates(value)
            elif key in self._lists():
                self._lists()[key].extend(value)
            elif key in _TABLES:
                setattr(self, _TABLES[key], value)
            elif key == "routes":
                self.places["route"] = f"{path}: routes"
                with self.naming("route"):
                    self.routes += table_routes(value)
            elif key in self.endpoints:
                for endpoint in value:
                    self.add_endpoint(key, endpoint)
            else:
                self[key] = value

    def _add_auth(self, value: Any) -> None:
        """A string, or an array of strings and tables."""
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, str):
                self.opt_auth(each)
                continue
            with self.naming("auth"):
                self.add_auth(parse_table(each))

    def _lists(self) -> dict[str, list[str]]:
        """Settings that are lists of texts."""
        return {
            "without-extension": self.without_extensions,
            "bare-line-ends": self.bare_line_ends,
            "imap-quirk": self.quirks,
            "without-capability": self.without_capabilities,
            "hook": self.hooks,
            "milter": self.milters,
            "milter-reuse": self.milter_reuse,
            "anonymous": self.anonymous,
            "proxy-from": self.proxies,
            "client-ca": self.client_authorities,
            "require-client-certificate": self.certified,
            "xclient-from": self.xclient,
            "relay-route": self.relay_routes,
            "relay-from": self.relay_from,
        }

    def _made_by_option(self, key: str) -> bool:
        if key in _TABLES:
            return False
        if key == "auth":
            return self.store_accounts or "credCheckers" in self
        if key == "tls":
            return bool(self.certificates)
        if key in self._lists():
            return bool(self._lists()[key])
        if key == "routes":
            return bool(self.routes)
        return bool(self.endpoints[key] if key in self.endpoints else self[key])

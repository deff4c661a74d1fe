"""``--config``: settings from a TOML file, for commands that have several services."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.python.reflect import accumulateClassList

from mailkit._typing import override
from mailkit.tap.config import read_config
from mailkit.tap.options import MailOptions
from mailkit.tap.routes import table_routes
from mailkit.tap.service_tls import read_certificates
from mailkit.tap.user_bases import parse_table

#: Keys whose values are more than one of the kinds that options have.
_OTHERS = {"tls", "auth"}


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
        values = {name for name, *_ in self._named("optParameters")} - {"config"}
        flags = {name for name, *_ in self._named("optFlags")}
        lists = {*self._named("list_settings")}
        tables = {*self._named("table_settings")}
        with self.naming("config"):
            settings = read_config(
                path, {*self.endpoint_options, *lists}, values, flags, tables, _OTHERS
            )
        for key, value in settings.items():
            if self._made_by_option(key):
                continue
            self.places[key] = f"{path}: {key}"
            if key == "auth":
                self._add_auth(value)
            elif key == "tls":
                with self.naming("tls"):
                    self.lists["tls"] += read_certificates(value)
            elif key == "routes":
                self.places["route"] = f"{path}: routes"
                with self.naming("route"):
                    self.lists["route"] += table_routes(value)
            elif key in lists:
                self.lists[key] += value
            elif key in tables:
                self.tables[key] = value
            elif key in self.endpoints:
                for endpoint in value:
                    self.add_endpoint(key, endpoint)
            else:
                self[key] = value

    def _named(self, kind: str) -> list[Any]:
        """What the classes of this command list of a kind of settings."""
        found: list[Any] = []
        accumulateClassList(type(self), kind, found)
        return found

    def _add_auth(self, value: Any) -> None:
        """A string, or an array of strings and tables."""
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, str):
                self.opt_auth(each)
                continue
            with self.naming("auth"):
                self.add_auth(parse_table(each))

    def _made_by_option(self, key: str) -> bool:
        if key == "auth":
            return self.store_accounts or "credCheckers" in self
        if key == "routes":
            return bool(self.lists["route"])
        if key in self.endpoints:
            return bool(self.endpoints[key])
        return bool(self.lists[key] if key in self.lists else self.get(key))

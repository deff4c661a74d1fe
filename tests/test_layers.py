"""Which module may import which: read from the syntax trees, so nothing needs to be imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
#: Modules longer than this are two modules.
MAX_LINES = 600


class Rule(NamedTuple):
    """What the modules of some patterns may import besides the standard library.

    Patterns are matched against whole module names; ``{own}`` is the module's package.
    """

    modules: str
    mailkit: str = ""
    others: str = ""


#: Octets to values, no I/O. Each knows the ones before it.
WIRE = "mailkit.wire mailkit.wire.*"
VALUES = (
    "mailkit._typing mailkit.errors mailkit.spool mailkit.query mailkit.model mailkit.hooks"
    " mailkit.ownership"
    " mailkit.annotations mailkit.files mailkit.hiding mailkit.identity mailkit.quiet"
    " mailkit.rights mailkit.statuscodes mailkit.translation mailkit.copies"
    f" mailkit.dns.records mailkit.expiring mailkit.queue mailkit.queue.values {WIRE}"
)
MIME = (
    "mailkit.mime mailkit.mime.* mailkit.folding mailkit.screening mailkit.textmap mailkit.matching"
    " mailkit.fieldtexts"
    " mailkit.collation mailkit.sorting mailkit.threads"
)
CONTRACTS = f"{VALUES} mailkit.interfaces mailkit.interfaces.*"
#: What the loop that all protocols share is made of.
LOOP_PARTS = (
    "mailkit.clocks mailkit.compression"
    " mailkit.coroutines mailkit.deadlines mailkit.output mailkit.peers mailkit.polling mailkit.seats"
    " mailkit.tcp"
)
#: Mechanisms of servers, and what they have come to.
SASL = "mailkit.sasl mailkit.sasl.*"
PURE = f"{VALUES} {MIME}"
HELPED = "bodies", "heads", "making", "records", "segments"
HELPER = " ".join(f"mailkit.store.sqlite.{n}" for n in HELPED)
#: The parts of a protocol that know no connection. ``*`` is one protocol: see `own_package`.
PROTOCOL_PURE = (
    "mailkit.*.grammar mailkit.*.state mailkit.smtp.trace mailkit.imap.reader mailkit.imap.content"
    " mailkit.imap.fetch mailkit.imap.listing mailkit.imap.render mailkit.imap.search mailkit.imap.sort"
    " mailkit.imap.decoded mailkit.imap.thread mailkit.imap.contexts mailkit.imap.sources"
    " mailkit.imap.appending mailkit.imap.url mailkit.imap.urlauth mailkit.imap.fuzzy mailkit.imap.metadata"
    " mailkit.imap.filters mailkit.imap.messagelimit mailkit.imap.comparator"
    " mailkit.imap.columns mailkit.imap.labels mailkit.imap.gmail_query mailkit.imap.conversion"
    " mailkit.imap.patterns mailkit.imap.annotate mailkit.imap.spans mailkit.pop3.choice"
)
#: What clients share, without the drivers.
SHARED_CLIENT_PURE = (
    "mailkit.client mailkit.client.address mailkit.client.channel mailkit.client.connecting"
    " mailkit.client.content mailkit.client.errors mailkit.client.pipeline mailkit.client.security"
    " mailkit.client.text"
)
#: A client's dialogue, which knows neither Twisted nor asyncio: two drivers carry it.
CLIENT_PURE = " ".join(
    f"mailkit.smtp.client.{name}"
    for name in [
        "address",
        "commands",
        "connecting",
        "content",
        "convert",
        "dialogue",
        "errors",
        "extensions",
        "message",
        "recode",
        "replies",
        "results",
        "session",
        "settings",
        "transaction",
        "turn",
    ]
)

#: The same of the IMAP client.
IMAP_CLIENT_NAMES = (
    "answers body commands connecting connection converted converting criteria errors fetched fetching"
    " following idle limited mailboxes messages metadata names notify opening reader responses selected"
    " session sets settings sharing survey sync text values"
)
IMAP_CLIENT_PURE = " ".join(f"mailkit.imap.client.{name}" for name in IMAP_CLIENT_NAMES.split())

#: The same of the POP3 client.
POP3_CLIENT_PURE = " ".join(
    f"mailkit.pop3.client.{name}"
    for name in [
        "commands",
        "connecting",
        "connection",
        "errors",
        "fetching",
        "opening",
        "reader",
        "session",
        "settings",
        "values",
    ]
)

#: The first rule with a matching pattern holds. Twisted's names stand for zope.interface too, as
#: whoever uses Twisted implements its interfaces.
RULES = (
    Rule("mailkit"),
    Rule("mailkit._typing", others="typing_extensions"),
    Rule("mailkit.errors mailkit.query mailkit.expiring", "mailkit._typing"),
    Rule("mailkit.spool", "mailkit._typing mailkit.wire.crc"),
    Rule("mailkit.annotations"),
    Rule("mailkit.files mailkit.hiding"),
    Rule("mailkit.identity", "mailkit.hiding"),
    Rule("mailkit.quiet mailkit.copies mailkit.ownership"),
    Rule("mailkit.model", "mailkit._typing mailkit.annotations mailkit.errors mailkit.spool"),
    Rule("mailkit.rights", "mailkit.model"),
    Rule("mailkit.statuscodes", "mailkit.errors"),
    Rule("mailkit.hooks", "mailkit._typing mailkit.model mailkit.spool", "typing_extensions"),
    Rule(WIRE, f"mailkit._typing mailkit.errors {WIRE}"),
    Rule("mailkit.mime mailkit.mime.*", f"{VALUES} mailkit.mime mailkit.mime.*"),
    Rule("mailkit.folding"),
    Rule(
        "mailkit.textmap", f"{VALUES} mailkit.mime mailkit.mime.* mailkit.folding mailkit.screening"
    ),
    Rule(
        "mailkit.matching",
        f"{VALUES} mailkit.mime mailkit.mime.* mailkit.folding mailkit.screening mailkit.textmap"
        " mailkit.collation",
    ),
    Rule("mailkit.fieldtexts", f"{VALUES} mailkit.mime mailkit.mime.* mailkit.folding"),
    Rule("mailkit.screening", f"{VALUES} mailkit.mime mailkit.mime.* mailkit.folding"),
    Rule("mailkit.translation"),
    Rule("mailkit.collation", "mailkit.query"),
    Rule("mailkit.sorting", f"{VALUES} mailkit.mime mailkit.mime.* mailkit.collation"),
    Rule("mailkit.threads", f"{VALUES} mailkit.sorting"),
    Rule("mailkit.dns mailkit.dns.records"),
    Rule("mailkit.queue"),
    Rule("mailkit.queue.values", f"mailkit.model mailkit.spool {WIRE}"),
    Rule(
        "mailkit.dns.*",
        f"{CONTRACTS} mailkit.coroutines mailkit.dns.*",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.interfaces mailkit.interfaces.*",
        f"{VALUES} mailkit.interfaces.*",
        "zope.interface",
    ),
    Rule("mailkit.seats", "mailkit.errors"),
    Rule(LOOP_PARTS, f"mailkit._typing {WIRE} {LOOP_PARTS}", "twisted zope.interface"),
    Rule("mailkit.pools", others="twisted"),
    Rule("mailkit.sockets", others="twisted"),
    Rule("mailkit.kerberos", f"mailkit._typing {WIRE}", "gssapi"),
    Rule("mailkit.outbox", "mailkit.model mailkit.errors mailkit.store mailkit.store.envelopes"),
    Rule(
        "mailkit.tls",
        "mailkit._typing mailkit.certificates",
        "twisted zope.interface OpenSSL cryptography",
    ),
    Rule("mailkit.fetching", f"{PURE} {SHARED_CLIENT_PURE} {POP3_CLIENT_PURE} mailkit.pop3.client"),
    Rule("mailkit.weblimit", others="twisted zope.interface"),
    Rule(
        "mailkit.posting",
        "mailkit._typing mailkit.client.security mailkit.client.tls mailkit.weblimit",
        "twisted zope.interface",
    ),
    Rule("mailkit.proxy", f"mailkit._typing mailkit.peers {WIRE}", "twisted zope.interface"),
    Rule("mailkit.certificates", others="cryptography"),
    Rule(
        "mailkit.channels",
        "mailkit.certificates",
        "twisted zope.interface cryptography OpenSSL",
    ),
    Rule(SASL, f"{CONTRACTS} {SASL}", "twisted zope.interface"),
    Rule(
        "mailkit.guard",
        f"{CONTRACTS} mailkit.coroutines",
        "twisted zope.interface",
    ),
    Rule("mailkit.login_log", CONTRACTS, "twisted"),
    Rule(
        "mailkit.login",
        f"{CONTRACTS} {SASL} mailkit.channels mailkit.guard mailkit.login_log {LOOP_PARTS}",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.connection",
        f"{CONTRACTS} {SASL} mailkit.login mailkit.proxy {LOOP_PARTS}",
        "twisted zope.interface",
    ),
    Rule(PROTOCOL_PURE, f"{PURE} {PROTOCOL_PURE}"),
    Rule(SHARED_CLIENT_PURE, f"{VALUES} {SHARED_CLIENT_PURE}"),
    Rule("mailkit.client.certificates", SHARED_CLIENT_PURE, "cryptography"),
    Rule(
        "mailkit.client.aio",
        f"{VALUES} {SHARED_CLIENT_PURE} mailkit.client.certificates mailkit.certificates",
    ),
    Rule("mailkit.client.kerberos", f"{WIRE} mailkit.kerberos", "twisted"),
    Rule(
        "mailkit.client.*",
        f"{VALUES} mailkit.certificates mailkit.channels mailkit.client.* mailkit.clocks"
        " mailkit.sockets",
        "twisted zope.interface OpenSSL cryptography service_identity",
    ),
    Rule(CLIENT_PURE, f"{PURE} {SHARED_CLIENT_PURE} mailkit.smtp.grammar {CLIENT_PURE}"),
    Rule(
        "mailkit.smtp.client.aio",
        f"{PURE} {SHARED_CLIENT_PURE} {CLIENT_PURE} mailkit.client.aio",
    ),
    Rule(
        "mailkit.smtp.client mailkit.smtp.client.*",
        f"{PURE} mailkit.clocks mailkit.coroutines mailkit.client.* mailkit.smtp.client.*",
        "twisted zope.interface",
    ),
    Rule(
        IMAP_CLIENT_PURE,
        f"{PURE} {SHARED_CLIENT_PURE} mailkit.imap.grammar mailkit.imap.patterns {IMAP_CLIENT_PURE}",
    ),
    Rule(
        "mailkit.imap.client.aio",
        f"{PURE} {SHARED_CLIENT_PURE} {IMAP_CLIENT_PURE} mailkit.client.aio",
    ),
    Rule(
        "mailkit.imap.client mailkit.imap.client.*",
        f"{PURE} mailkit.client.* mailkit.imap.client.*",
        "twisted zope.interface",
    ),
    Rule(POP3_CLIENT_PURE, f"{PURE} {SHARED_CLIENT_PURE} {POP3_CLIENT_PURE}"),
    Rule(
        "mailkit.pop3.client.aio",
        f"{PURE} {SHARED_CLIENT_PURE} {POP3_CLIENT_PURE} mailkit.client.aio",
    ),
    Rule(
        "mailkit.pop3.client mailkit.pop3.client.*",
        f"{PURE} mailkit.client.* mailkit.pop3.client.*",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.smtp mailkit.smtp.* mailkit.pop3 mailkit.pop3.* mailkit.imap mailkit.imap.*"
        " mailkit.ftp mailkit.ftp.*",
        f"mailkit {CONTRACTS} {MIME} {SASL} mailkit.login mailkit.connection {LOOP_PARTS}"
        " {own} {own}.*",
        "twisted zope.interface",
    ),
    # What the store's helper imports: it is a small process, which begins quickly.
    Rule(f"mailkit.store.sqlite.helper {HELPER}", f"mailkit {PURE} {HELPER}"),
    # Both ends must be of the same release.
    Rule(
        "mailkit.store.sqlite.codec mailkit.store.sqlite.helperprocess",
        f"mailkit {CONTRACTS} {MIME} mailkit.store mailkit.store.*",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.store mailkit.store.*",
        f"{CONTRACTS} {MIME} mailkit.clocks mailkit.pools mailkit.sockets mailkit.store"
        " mailkit.store.*",
        "twisted zope.interface",
    ),
    Rule("mailkit.auth.hmac_md5", "mailkit.auth"),
    Rule("mailkit.auth.schemes", "mailkit.auth mailkit.auth.hmac_md5", "argon2 passlib"),
    Rule("mailkit.auth.names", WIRE),
    Rule(
        "mailkit.auth.http_users",
        f"{CONTRACTS} mailkit.coroutines mailkit.https mailkit.auth mailkit.auth.*",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.auth.pam_users",
        f"{CONTRACTS} mailkit.coroutines mailkit.auth mailkit.auth.*",
        "twisted zope.interface pam",
    ),
    Rule(
        "mailkit.auth.ldap",
        f"{CONTRACTS} mailkit.coroutines mailkit.auth mailkit.auth.*",
        "twisted zope.interface ldap3",
    ),
    Rule(
        "mailkit.homes mailkit.homes.*",
        f"{CONTRACTS} {MIME} mailkit.coroutines mailkit.homes mailkit.homes.*",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.https",
        f"{CONTRACTS} mailkit.dns.lookups mailkit.client.security mailkit.client.tls"
        " mailkit.weblimit",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.auth.oauth mailkit.auth.oauth.*",
        f"{CONTRACTS} mailkit.coroutines mailkit.https mailkit.auth.located mailkit.auth.oauth.*",
        "twisted zope.interface jwt cryptography",
    ),
    Rule(
        "mailkit.auth.certificates",
        f"{CONTRACTS} mailkit.certificates mailkit.coroutines mailkit.auth.located",
        "twisted zope.interface cryptography",
    ),
    Rule(
        "mailkit.auth.kerberos",
        f"{CONTRACTS} {SASL} mailkit mailkit.coroutines mailkit.kerberos mailkit.auth.*",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.auth mailkit.auth.*",
        f"{CONTRACTS} mailkit.clocks mailkit.coroutines mailkit.guard mailkit.auth mailkit.auth.*",
        "twisted zope.interface argon2 pyotp",
    ),
    Rule(
        "mailkit.delivery.lmtp mailkit.delivery.relay",
        f"{CONTRACTS} {MIME} mailkit.delivery mailkit.delivery.* mailkit.smtp.client",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.queue.security mailkit.queue.sts mailkit.queue.sts_fetch mailkit.queue.tls_*",
        f"{CONTRACTS} {MIME} mailkit.coroutines mailkit.dns.lookups mailkit.https mailkit.queue.*"
        " mailkit.smtp.client mailkit.client.dane mailkit.client.security mailkit.client.tls",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.queue.webhooks",
        f"{CONTRACTS} {MIME} mailkit.posting mailkit.queue.*",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.queue.*",
        f"{CONTRACTS} {MIME} mailkit.clocks mailkit.coroutines mailkit.deadlines"
        " mailkit.client.racing"
        " mailkit.dns.lookups mailkit.queue.* mailkit.smtp.client mailkit.tcp",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.delivery.http",
        f"{CONTRACTS} {MIME} mailkit.posting mailkit.delivery mailkit.delivery.*",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.signing mailkit.signing.*",
        f"{CONTRACTS} {MIME} mailkit.dns.lookups mailkit.pools mailkit.queue.transport mailkit.signing.* mailkit.smtp.client.*",
        "twisted zope.interface cryptography dkim",
    ),
    Rule(
        "mailkit.delivery.queueing",
        f"{CONTRACTS} {MIME} mailkit.delivery mailkit.delivery.* mailkit.queue.manager"
        " mailkit.queue.starting mailkit.signing.srs",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.delivery mailkit.delivery.*",
        f"{CONTRACTS} {MIME} mailkit.delivery mailkit.delivery.*",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.checks.recipients",
        f"{CONTRACTS} mailkit.coroutines mailkit.checks mailkit.checks.* mailkit.smtp.client",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.checks mailkit.checks.*",
        f"{CONTRACTS} {MIME} mailkit.coroutines mailkit.dns.* mailkit.checks mailkit.checks.*",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.milter.packets mailkit.milter.message",
        f"{PURE} mailkit.milter.packets",
    ),
    Rule(
        "mailkit.milter mailkit.milter.*",
        f"mailkit {CONTRACTS} mailkit.milter mailkit.milter.*",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.testing mailkit.testing.*",
        f"{CONTRACTS} mailkit.testing mailkit.testing.*",
        "twisted zope.interface",
    ),
    Rule(
        "mailkit.tap mailkit.tap.* mailkit.__main__",
        "mailkit mailkit.*",
        "twisted zope.interface click cryptography OpenSSL psycopg tomli",
    ),
)


def matches(name: str, patterns: str, own: str = "") -> bool:
    return any(fnmatchcase(name, p.replace("{own}", own)) for p in patterns.split())


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(source: str, module: str, is_package: bool = False) -> list[tuple[int, str]]:
    """Line and full name of everything imported, inside functions and TYPE_CHECKING as well."""
    return list(_imports(source, module, is_package))


def _imports(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names = [*base, *([node.module] if node.module else [])]
            for alias in node.names:
                # `from mailkit.wire import sasl` imports a module, `... import Path` does not.
                full = ".".join([*names, alias.name])
                is_module = full.startswith("mailkit.") and _is_module(full)
                yield node.lineno, full if is_module else ".".join(names)


@cache
def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def own_package(module: str) -> str:
    return ".".join(module.split(".")[:2])


def problems(source: str, module: str, is_package: bool = False) -> list[str]:
    """What ``module`` imports and must not, as lines for people."""
    rule = next((rule for rule in RULES if matches(module, rule.modules)), None)
    if rule is None:
        return [f"{module}: no rule says what it may import; add one here and in the style guide"]
    own = own_package(module)
    found = []
    for line, name in imports(source, module, is_package):
        top = name.partition(".")[0]
        # tomllib: in the standard library since Python 3.11.
        if top in sys.stdlib_module_names or top in ("_typeshed", "tomllib"):
            continue
        if top == "mailkit":
            allowed = matches(name, rule.mailkit, own) and not (
                # `*` in a pattern must not lead from one protocol to another.
                matches(name, PROTOCOL_PURE) and own_package(name) != own and own != "mailkit.tap"
            )
        else:
            allowed = any(f"{name}.".startswith(f"{other}.") for other in rule.others.split())
        if not allowed:
            found.append(f"{module}, line {line}: must not import {name}")
    return found


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


class LayerTests(SynchronousTestCase):
    """The import table of the style guide."""

    def test_every_module_keeps_to_its_layer(self) -> None:
        found = []
        files = python_files("mailkit")
        for path in files:
            source = path.read_text("utf-8")
            found += problems(source, module_name(path), path.name == "__init__.py")
        self.assertEqual(found, [])
        self.assertGreater(len(files), 10)

    def test_nothing_imports_tap(self) -> None:
        found = [
            f"{module_name(path)}, line {line}"
            for path in python_files("mailkit")
            if not matches(module_name(path), "mailkit.tap mailkit.tap.* mailkit.__main__")
            for line, name in imports(
                path.read_text("utf-8"), module_name(path), path.name == "__init__.py"
            )
            if matches(name, "mailkit.tap mailkit.tap.* mailkit.__main__")
        ]
        self.assertEqual(found, [])

    def test_pure_modules_load_without_twisted(self) -> None:
        # The syntax trees show direct imports; this shows what loading really brings in.
        names = [
            module_name(path)
            for path in python_files("mailkit")
            if matches(
                module_name(path),
                f"{PURE} {PROTOCOL_PURE} {SHARED_CLIENT_PURE} {CLIENT_PURE} {IMAP_CLIENT_PURE}",
            )
        ]
        program = (
            "import importlib, sys\n"
            f"for name in {names!r}: importlib.import_module(name)\n"
            "print(*sorted({n.partition('.')[0] for n in sys.modules}"
            " & {'twisted', 'zope', 'OpenSSL', 'asyncio'}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        self.assertEqual((done.returncode, done.stderr, done.stdout.strip()), (0, "", ""))


class RuleTests(SynchronousTestCase):
    """The reader of the rules sees what it must see."""

    def check(self, module: str, source: str) -> list[str]:
        return [line.rpartition(" ")[2] for line in problems(source, module)]

    def test_grammar_must_not_know_twisted(self) -> None:
        for source in (
            "import twisted",
            "from twisted.internet import defer",
            "def f():\n    from zope.interface import Interface",
        ):
            self.assertEqual(len(self.check("mailkit.smtp.grammar", source)), 1, source)
        self.assertEqual(self.check("mailkit.smtp.grammar", "import re"), [])

    def test_state_knows_the_grammar_but_no_connection(self) -> None:
        module = "mailkit.imap.state"
        self.assertEqual(self.check(module, "from mailkit.imap.grammar import Command"), [])
        self.assertEqual(len(self.check(module, "from mailkit.smtp.grammar import Command")), 1)
        self.assertEqual(len(self.check(module, "import mailkit.imap.protocol")), 1)

    def test_protocols_must_not_know_each_other_nor_stores(self) -> None:
        for source in (
            "import mailkit.imap.protocol",
            "from mailkit.store import memory",
            "from mailkit.auth.realm import MailRealm",
            "from ..imap import grammar",
        ):
            self.assertEqual(len(self.check("mailkit.pop3.handlers", source)), 1, source)
        self.assertEqual(self.check("mailkit.pop3.handlers", "from . import grammar"), [])
        self.assertEqual(
            self.check("mailkit.imap.handlers.selected", "from mailkit.imap.state import x"), []
        )

    def test_the_client_knows_no_server_and_its_dialogue_no_loop(self) -> None:
        for module in ("session", "transaction", "protocol", "aio"):
            source = "import mailkit.smtp.protocol"
            self.assertEqual(len(self.check(f"mailkit.smtp.client.{module}", source)), 1)
        for protocol in ("imap", "pop3"):
            for module in ("session", "fetching", "protocol", "aio"):
                name = f"mailkit.{protocol}.client.{module}"
                for other in (f"{protocol}.protocol", "smtp.client.session"):
                    self.assertEqual(len(self.check(name, f"import mailkit.{other}")), 1)
        self.assertEqual(self.check("mailkit.imap.client.fetching", "import twisted"), ["twisted"])
        source = "import mailkit.smtp.client.session"
        self.assertEqual(len(self.check("mailkit.client.protocol", source)), 1)
        self.assertEqual(self.check("mailkit.smtp.client.session", "import twisted"), ["twisted"])
        self.assertEqual(self.check("mailkit.smtp.client.aio", "import twisted"), ["twisted"])
        self.assertEqual(self.check("mailkit.smtp.client.protocol", "import twisted"), [])

    def test_the_standard_packages_are_looked_through(self) -> None:
        self.assertEqual(
            self.check("mailkit.pop3.protocol", "from mailkit import store"), ["mailkit.store"]
        )

    def test_only_named_libraries_are_used(self) -> None:
        self.assertEqual(self.check("mailkit.tap.stores", "import requests"), ["requests"])
        self.assertEqual(self.check("mailkit.interfaces", "import zope.event"), ["zope.event"])

    def test_a_module_without_a_rule_is_told(self) -> None:
        self.assertIn("no rule", problems("", "mailkit.novelty")[0])


class ShapeTests(SynchronousTestCase):
    """Rules about files."""

    def test_no_module_is_too_long(self) -> None:
        folders = ("mailkit", "twisted", "tests", "examples", "benchmarks")
        lengths = {
            str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
            for path in python_files(*folders)
        }
        self.assertEqual({p: n for p, n in lengths.items() if n > MAX_LINES}, {})
        self.assertIn("mailkit/model.py", lengths)

    def test_twisted_is_a_namespace_and_stays_one(self) -> None:
        # An __init__.py there would hide Twisted itself.
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])

    def test_every_test_package_can_be_imported(self) -> None:
        folders = {path.parent for path in python_files("tests") if path.name.startswith("test_")}
        missing = [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").is_file()]
        self.assertEqual(missing, [])

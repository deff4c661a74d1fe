"""``mailkit dns-check DOMAIN``: what DNS says about a domain, and what it should say."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from mailkit.tap.administration import run
from mailkit.tap.errors import SettingError
from mailkit.tap.stores import sqlite_directory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailkit.interfaces import IDNSResolver
    from mailkit.queue.sts import PolicyFetcher
    from mailkit.tap.dns_check import Finding, KnownKey


@click.command("dns-check")
@click.argument("domain")
@click.option("--host", metavar="NAME", help="The server that sends [default: the first MX].")
@click.option(
    "--nameserver",
    "nameservers",
    metavar="ADDRESS[:PORT]",
    multiple=True,
    help="Ask this one instead of the system's; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def dns_check(
    store: str, domain: str, host: str | None, nameservers: tuple[str, ...], as_json: bool
) -> None:
    """Look up what others see of DOMAIN.

    Where its mail goes, and whether they believe it.

    MX, addresses and their names (PTR), SPF, DKIM with the keys of --store, DMARC, MTA-STS with its
    policy (by HTTPS), TLSA and TLS reports. The exit code is 1 when mail is lost or refused.
    """
    from mailkit.errors import MailError
    from mailkit.store.addresses import valid_domain
    from mailkit.tap.dns_check import DomainCheck, Level, check_domain

    try:
        names = [valid_domain(name) for name in (domain, *([host] if host else []))]
    except MailError as error:
        raise click.ClickException(error.text) from error
    try:
        resolver = make_resolver(nameservers)
    except SettingError as error:
        raise click.BadParameter(str(error), param_hint="--nameserver") from error
    keys = _keys(store, names[0])
    own = names[1] if host else None
    check = DomainCheck(resolver, names[0], own, keys, make_fetcher(resolver))
    found: list[Finding] = []

    async def work() -> None:
        found.extend(await check_domain(check))

    run(work())
    failed = any(finding.level is Level.ERROR for finding in found)
    if as_json:
        rows = [{"topic": f.topic, "level": f.level.value, "text": f.text} for f in found]
        click.echo(json.dumps({"domain": names[0], "ok": not failed, "findings": rows}, indent=2))
    else:
        for finding in found:
            click.echo(f"{finding.topic:<8} {finding.level.value:<8} {finding.text}")
    if failed:
        raise click.exceptions.Exit(1)


def make_resolver(nameservers: Sequence[str]) -> IDNSResolver:
    """What asks name servers.

    :raises SettingError: an address is none.
    """
    from mailkit.dns.resolver import DNSResolver
    from mailkit.tap.checks import parse_servers

    resolver: Any = DNSResolver(parse_servers(list(nameservers)) or None)
    found: IDNSResolver = resolver
    return found


def make_fetcher(resolver: IDNSResolver) -> PolicyFetcher:
    """What gets the MTA-STS policy."""
    from twisted.internet import reactor

    from mailkit.https import HTTPSClient
    from mailkit.queue.sts_fetch import HTTPSFetcher

    return HTTPSFetcher(HTTPSClient(resolver, reactor))


def _keys(store: str, domain: str) -> Sequence[KnownKey]:
    """The keys of the store that sign mail of a domain; none where there is no such store."""
    from mailkit.signing.keys import KeyDirectory, SigningKeyError
    from mailkit.tap.dns_check import KnownKey
    from mailkit.tap.signing import key_directory

    path = sqlite_directory(store)
    if path is None or not os.path.isdir(path):
        return []
    directory = KeyDirectory(key_directory(path))
    try:
        entries = directory.list_keys()
        # Keys of the domain above it sign for it where it has none.
        name = domain
        while name and not any(entry.domain == name for entry in entries):
            name = name.partition(".")[2]
        chosen = [entry for entry in entries if entry.domain == name]
        return [KnownKey(directory.open_key(entry), entry.state) for entry in chosen]
    except SigningKeyError as error:
        raise click.ClickException(str(error)) from error

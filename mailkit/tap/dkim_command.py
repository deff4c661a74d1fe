"""``mailkit dkim ...``: the keys that sign mail, for the administrator."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from mailkit.errors import MailError
from mailkit.tap.administration import existing_directory

if TYPE_CHECKING:
    from mailkit.signing.keys import Algorithm, KeyDirectory, KeyEntry, SigningKey

_ALGORITHMS = ("rsa", "ed25519")
_bits = click.option(
    "--bits", type=int, default=2048, show_default=True, help="How long an RSA key is."
)


@click.group()
def dkim() -> None:
    """Keys that sign mail (DKIM).

    A server with --relay signs what its users send from a domain that has keys, and notices changes
    by itself. A domain may have several keys; mail gets a signature of each, at most of the four newest.
    """


@dkim.command("generate")
@click.argument("domain")
@click.option(
    "--algorithm",
    type=click.Choice(_ALGORITHMS),
    default="rsa",
    show_default=True,
    help="Everybody verifies RSA; Ed25519 (RFC 8463) is for a second key.",
)
@click.option("--selector", help="Name of the key in DNS [default: algorithm and month]")
@_bits
@click.pass_obj
def generate(store: str, domain: str, algorithm: str, selector: str | None, bits: int) -> None:
    """Make a key for DOMAIN, and show the record to publish in DNS."""
    with _open(store) as keys:
        from mailkit.signing.keys import Algorithm

        made = _make(keys, _valid(domain), Algorithm(algorithm), selector, bits, set())
        keys.add([made], int(time.time()))
        _show([made])


@dkim.command("list")
@click.argument("domain", required=False)
@click.pass_obj
def list_keys(store: str, domain: str | None) -> None:
    """Show the keys of DOMAIN, or all keys, one a line."""
    with _open(store) as keys:
        for entry in _entries(keys, domain):
            made = time.strftime("%Y-%m-%d", time.localtime(entry.created))
            click.echo(
                f"{entry.domain} {entry.selector} {entry.algorithm.value} {entry.state.value} {made}"
            )


@dkim.command("show")
@click.argument("domain")
@click.option("--selector", help="Only the key of this name.")
@click.pass_obj
def show(store: str, domain: str, selector: str | None) -> None:
    """Show the records of the keys of DOMAIN, as a zone file has them."""
    with _open(store) as keys:
        entries = [e for e in _entries(keys, domain) if selector in (None, e.selector)]
        if not entries:
            raise click.ClickException(f"{domain} has no such keys")
        _show([keys.open_key(entry) for entry in entries])


@dkim.command("rotate")
@click.argument("domain")
@_bits
@click.pass_obj
def rotate(store: str, domain: str, bits: int) -> None:
    """Make a new key for each key of DOMAIN that signs.

    Old and new ones sign until the old ones are retired, so that mail can be verified all the time:
    publish the new records; then `mailkit dkim retire` the old keys; a week later, when no mail that
    they have signed is on its way any more, `mailkit dkim remove` them, and their records.
    """
    with _open(store) as keys:
        from mailkit.signing.keys import KeyState

        active = [e for e in _entries(keys, domain) if e.state is KeyState.ACTIVE]
        if not active:
            raise click.ClickException(f"{domain} has no key that signs")
        made: list[SigningKey] = []
        for algorithm in dict.fromkeys(entry.algorithm for entry in active):
            taken = {key.selector for key in made}
            made.append(_make(keys, active[0].domain, algorithm, None, bits, taken))
        keys.add(made, int(time.time()))
        _show(made)
    for entry in active:
        click.echo(f"; later: mailkit dkim retire {entry.domain} {entry.selector}")


@dkim.command("retire")
@click.argument("domain")
@click.argument("selector")
@click.pass_obj
def retire(store: str, domain: str, selector: str) -> None:
    """Sign no more with the key SELECTOR of DOMAIN.

    Its record must stay for some days.
    """
    with _open(store) as keys:
        keys.retire(domain, selector)
    click.echo(f"{selector} of {domain} signs no more; leave its record in DNS for a week.")


@dkim.command("remove")
@click.argument("domain")
@click.argument("selector")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_obj
def remove(store: str, domain: str, selector: str, yes: bool) -> None:
    """Delete the key SELECTOR of DOMAIN for good."""
    with _open(store) as keys:
        if not yes:
            click.confirm(f"Delete the key {selector} of {domain}?", abort=True)
        keys.remove(domain, selector)
    click.echo(f"Deleted {selector} of {domain}; its record in DNS is of no use any more.")


@contextmanager
def _open(store: str) -> Iterator[KeyDirectory]:
    path = existing_directory(store)
    from mailkit.signing.keys import KeyDirectory, SigningKeyError
    from mailkit.tap.signing import key_directory

    try:
        yield KeyDirectory(key_directory(path))
    except SigningKeyError as error:
        raise click.ClickException(str(error)) from error


def _valid(domain: str) -> str:
    from mailkit.store.addresses import valid_domain

    try:
        return valid_domain(domain)
    except MailError as error:
        raise click.ClickException(f"{domain}: {error.text}") from error


def _entries(keys: KeyDirectory, domain: str | None) -> Sequence[KeyEntry]:
    wanted = None if domain is None else _valid(domain)
    return [entry for entry in keys.list_keys() if wanted in (None, entry.domain)]


def _make(
    keys: KeyDirectory,
    domain: str,
    algorithm: Algorithm,
    selector: str | None,
    bits: int,
    taken: set[str],
) -> SigningKey:
    from mailkit.signing.keys import make_key

    if selector is None:
        taken = taken | {entry.selector for entry in _entries(keys, domain)}
        first = selector = f"{algorithm.value}{time.strftime('%Y%m')}"
        count = 1
        while selector in taken:
            count += 1
            selector = f"{first}-{count}"
    return make_key(domain, selector, algorithm, bits)


def _show(keys: Sequence[SigningKey]) -> None:
    from mailkit.signing.keys import zone_line

    for key in keys:
        click.echo(zone_line(key))

"""``mailkit import``: mail from elsewhere, into an account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

from mailkit.tap.administration import existing_directory, refusals, run
from mailkit.tap.errors import SettingError
from mailkit.tap.import_login import find_mechanisms, login_options, read_credentials

if TYPE_CHECKING:
    from mailkit.client.security import TLSPolicy
    from mailkit.fetching import FetchReport
    from mailkit.wire.sasl_client import Credentials

_DAY = 86400


@click.group("import")
def import_() -> None:
    """Take mail from elsewhere into an account."""


@import_.command("pop3")
@click.argument("address")
@click.option("--host", required=True, help="The server to fetch from.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="995; 110 where TLS does not begin at once."
)
@login_options
@click.option(
    "--tls",
    type=click.Choice(["implicit", "stls", "none"]),
    default="implicit",
    show_default=True,
    help="TLS from the start, by STLS, or not at all.",
)
@click.option(
    "--tls-ca",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Certificates to trust (PEM) instead of the system's.",
)
@click.option("--tls-pin", metavar="SHA256", help="The server's certificate or key must be this.")
@click.option("--tls-unverified", is_flag=True, help="Take any certificate.")
@click.option(
    "--plaintext-passwords", is_flag=True, help="Send the password without TLS, if it must be so."
)
@click.option("--mailbox", default="INBOX", show_default=True, help="Where the messages go.")
@click.option(
    "--remembered-as",
    metavar="HOST[:PORT]",
    help="The server's name when messages were first fetched from it, where it has got another.",
)
@click.option("--leave", is_flag=True, help="Leave messages at the server; this is the default.")
@click.option("--delete", is_flag=True, help="Delete there what is safe here.")
@click.option(
    "--delete-after",
    metavar="DAYS",
    type=click.IntRange(1, 36500),
    help="Delete there what was fetched so many days ago.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 1000),
    default=200,
    show_default=True,
    help="Messages that are made durable in one step.",
)
@click.option("--quiet", is_flag=True, help="Say nothing but what went wrong.")
@click.pass_obj
def import_pop3(store: str, /, address: str, **options: Any) -> None:
    """Fetch another server's maildrop into ADDRESS.

    Each message comes once into the account's INBOX, or the mailbox that --mailbox names.

    What was fetched is remembered with the messages, so that the command may be stopped and
    repeated at any time, by cron for example. The messages stay at the server unless --delete or
    --delete-after says otherwise; what is deleted there is safe here. A server of another name is
    another one, unless --remembered-as says that it is the same.

    By default it logs in by the best that the server has: SCRAM where it can.

    \b
    Examples:
      mailkit import pop3 ann@example.org --host pop.example.com --user ann
      mailkit import pop3 ann@example.org --host pop.example.com --user ann \\
          --password-file /etc/mailkit/ann.pop3 --delete-after 14 --quiet
      mailkit import pop3 ann@example.org --host pop.example.com --user ann@example.com \\
          --token-command "oauth-token ann"
    """
    if options["leave"] + options["delete"] + (options["delete_after"] is not None) > 1:
        raise click.UsageError("--leave, --delete and --delete-after exclude each other")
    _check_host(options["host"])
    policy = _tls_policy(options)
    with refusals(address):
        run(_import(store, address, policy, read_credentials(options), options))


def _tls_policy(options: dict[str, Any]) -> TLSPolicy:
    from mailkit.client.security import TLSPolicy

    kind, pin, unverified = options["tls"], options["tls_pin"], options["tls_unverified"]
    if kind == "none":
        if pin or unverified or options["tls_ca"]:
            raise click.UsageError("--tls none has no certificates")
        return TLSPolicy.none()
    if bool(pin) + unverified + bool(options["tls_ca"]) > 1:
        raise click.UsageError("--tls-ca, --tls-pin and --tls-unverified exclude each other")
    implicit = kind == "implicit"
    if unverified:
        return TLSPolicy.required(implicit=implicit)
    if pin:
        try:
            return TLSPolicy.pinned(pin, implicit=implicit)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--tls-pin") from error
    return TLSPolicy.verified(options["host"], implicit=implicit, ca_file=options["tls_ca"])


def _check_host(host: str) -> None:
    """:raises BadParameter: it is neither a name nor an address."""
    from mailkit.checks.networks import parse_address
    from mailkit.wire.domains import canonical_domain, is_dns_name

    if not is_dns_name(canonical_domain(host)) and parse_address(host) is None:
        text = f"{host!r} is neither a name such as pop.example.com nor an address"
        raise click.BadParameter(text, param_hint="--host")


def _find_place(remembered: str | None, host: str, port: int) -> tuple[str, int]:
    """By which host and port a maildrop is remembered.

    :raises BadParameter: that is none.
    """
    if not remembered:
        return host, port
    # An address of IPv6 has more colons than one, and brackets where a port follows.
    name, colon, number = remembered.rpartition(":")
    if not colon or remembered.endswith("]") or (":" in name and not name.endswith("]")):
        name, number = remembered, str(port)
    name = name.removeprefix("[").removesuffix("]")
    if not (name and number.isascii() and number.isdigit() and 0 < int(number) < 65536):
        raise click.BadParameter("that is no HOST or HOST:PORT", param_hint="--remembered-as")
    return name, int(number)


async def _import(
    store: str, address: str, policy: TLSPolicy, credentials: Credentials, options: dict[str, Any]
) -> None:
    from mailkit.fetching import FetchSettings, MaildropFetch, source_name
    from mailkit.pop3.client import ClientSettings, Refused, connect

    # What can be refused is refused before anything is fetched.
    async with _open_account(store, address, options):
        pass
    port = options["port"] or (995 if policy.implicit else 110)
    host, user = options["host"], options["user"]
    client = ClientSettings(
        policy,
        credentials,
        await find_mechanisms(options),
        sasl_only=bool(options["mechanisms"]),
        allow_plaintext_passwords=options["plaintext_passwords"],
    )
    place = f"[{host}]" if ":" in host else host
    # As who runs this, who has the ticket.
    session = await connect(f"{place}:{port}", client)
    async with _open_account(store, address, options) as account:
        days = 0 if options["delete"] else options["delete_after"]
        settings = FetchSettings(
            mailbox=options["mailbox"],
            delete_after=None if days is None else days * _DAY,
            batch_messages=options["batch"],
        )
        source = source_name(user, *_find_place(options["remembered_as"], host, port))
        tell = _ignore if options["quiet"] else _tell_progress
        fetch = MaildropFetch(session, account, source, settings, tell)
        try:
            await fetch.run()
        except Refused as error:
            if error.command == "UIDL":
                raise click.ClickException(
                    f"{host} has no UIDL, so that nothing could be remembered: {error.text}"
                ) from error
            raise
        finally:
            _tell_end(fetch.report, options)
    if fetch.report.failures or fetch.report.refusals or fetch.report.trouble:
        raise click.exceptions.Exit(1)


@asynccontextmanager
async def _open_account(store: str, address: str, options: dict[str, Any]) -> AsyncIterator[Any]:
    """The account; in SQLite, what is made meanwhile belongs to the owner of the store.

    :raises MailError: there is no such account, or mailbox.
    """
    from mailkit.interfaces import IFetchMemory
    from mailkit.store.sqlite.belonging import acting_as_store_owner
    from mailkit.tap.stores import open_store, sqlite_directory

    with ExitStack() as stack:
        if sqlite_directory(store) is not None:
            # Opening it would make one.
            stack.enter_context(acting_as_store_owner(existing_directory(store)))
        opened = open_store(store)
        try:
            account: Any = await opened.open_account(name=await _find_name(opened, address))
            remembers: bool = IFetchMemory.providedBy(account)
            if not remembers:
                raise SettingError(f"{store} cannot remember what was fetched")
            await account.open_mailbox(name=options["mailbox"])
            yield account
        finally:
            await opened.close()


async def _find_name(opened: Any, address: str) -> str:
    from mailkit.interfaces import IDirectory

    name = await opened.find_account(login=address) if IDirectory.providedBy(opened) else address
    if name is None:
        raise click.ClickException(f"{address}: no such account")
    return str(name)


def _ignore(report: FetchReport) -> None:
    pass


def _tell_progress(report: FetchReport) -> None:
    new = report.listed - report.known
    click.echo(f"{report.fetched} of {new} new messages, {_size(report.octets)}", err=True)


def _tell_end(report: FetchReport, options: dict[str, Any]) -> None:
    for number, text in report.failures:
        click.echo(f"Message {number} could not be fetched: {text}", err=True)
    for number, text in report.refusals:
        click.echo(f"Message {number} was not deleted from the server: {text}", err=True)
    if report.trouble:
        click.echo(
            f"Messages were not deleted from the server, the next run will do it: {report.trouble}",
            err=True,
        )
    if not options["quiet"]:
        click.echo(
            f"Fetched {_count(report.fetched)} ({_size(report.octets)}) into {options['mailbox']};"
            f" {report.known + report.unchanged} of {report.listed} were known,"
            f" {report.deleted} were deleted from the server."
        )


def _count(messages: int) -> str:
    return "1 message" if messages == 1 else f"{messages} messages"


def _size(octets: int) -> str:
    return f"{octets / 1024:.1f} KiB" if octets < 1024 * 1024 else f"{octets / 1048576:.1f} MiB"

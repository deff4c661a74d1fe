"""``mailkit account pop3``: what POP3 makes of an account's mail."""

from __future__ import annotations

from typing import Any

import click

from mailkit.tap.administration import administer, find_account
from mailkit.tap.errors import SettingError
from mailkit.tap.values import parse_count


@click.command("pop3")
@click.argument("address")
@click.option(
    "--mailboxes", metavar="NAME,NAME...", help="Whose messages are shown; INBOX otherwise."
)
@click.option("--keep/--no-keep", default=None, help="DELE only hides messages from POP3.")
@click.option(
    "--hide-seen/--show-seen", default=None, help="Leave out what was read by IMAP already."
)
@click.option(
    "--expire",
    metavar="DAYS",
    help="Remove messages from these mailboxes that long after they came.",
)
@click.option("--login-delay", metavar="SECONDS", help="Between two logins; none for the usual.")
@click.pass_obj
def maildrop(
    store: str,
    /,
    address: str,
    mailboxes: str | None,
    keep: bool | None,
    hide_seen: bool | None,
    expire: str | None,
    login_delay: str | None,
) -> None:
    """Show or set what POP3 makes of the mail of ADDRESS.

    Holds from the next login on. Numbers may be none. Messages that are hidden stay where they are,
    with the keyword $POP3Deleted, for IMAP; those that expire are removed at a POP3 login.

    \b
    Examples:
      mailkit account pop3 ann@example.org --keep --mailboxes INBOX,Junk
      mailkit account pop3 ann@example.org --expire 30
    """

    async def work(directory: Any) -> None:
        from mailkit.interfaces import IMaildropDirectory

        if not IMaildropDirectory.providedBy(directory):
            raise SettingError(f"{store} keeps no settings for POP3")
        name = await find_account(directory, address)
        old = settings = await directory.get_maildrop_settings(account=name)
        if mailboxes is not None:
            names = tuple(each.strip() for each in mailboxes.split(","))
            settings = settings._replace(mailboxes=names)
        if keep is not None:
            settings = settings._replace(keep=keep)
        if hide_seen is not None:
            settings = settings._replace(hide_seen=hide_seen)
        if expire is not None:
            settings = settings._replace(expire=_number("--expire", expire))
        if login_delay is not None:
            settings = settings._replace(login_delay=_number("--login-delay", login_delay))
        if settings != old:
            await directory.set_maildrop_settings(account=name, settings=settings)
            settings = await directory.get_maildrop_settings(account=name)
        click.echo(f"mailboxes: {', '.join(settings.mailboxes)}")
        click.echo(f"keep deleted messages: {'yes' if settings.keep else 'no'}")
        click.echo(f"hide read messages: {'yes' if settings.hide_seen else 'no'}")
        click.echo(f"expire: {_told(settings.expire, 'day', 'never')}")
        click.echo(f"login delay: {_told(settings.login_delay, 'second', 'the usual')}")

    administer(store, work, about=address)


def _number(option: str, text: str) -> int | None:
    if text == "none":
        return None
    try:
        return parse_count(text)
    except SettingError as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def _told(number: int | None, unit: str, none: str) -> str:
    if number is None:
        return none
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"

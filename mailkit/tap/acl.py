"""``mailkit acl``: who may use whose mailboxes."""

from __future__ import annotations

from typing import Any

import click

from mailkit.tap.administration import administer
from mailkit.tap.errors import SettingError
from mailkit.wire.domains import displayed_address


@click.group()
def acl() -> None:
    """Who may use whose mailboxes, and which accounts are public.

    \b
    An IDENTIFIER is an account, @DOMAIN for all of a domain, or anyone for everybody; after a
    hyphen, those who lose rights that another entry gives them. RIGHTS are letters:
      l see it   r read   s mark as seen   w other flags   i put messages into it
      t mark as deleted   e expunge   k make mailboxes below   x delete and rename it
      a decide who may use it   n annotations that all see   c for kx   d for te
      p post: mail for ACCOUNT with the mailbox as sub-address, with --detail-by-acl

    \b
    Examples:
      mailkit acl set ann@example.org Plans bob@example.org lrs
      mailkit acl public news@example.org
      mailkit acl set news@example.org Offers anyone lr
    """


@acl.command("list")
@click.argument("account")
@click.argument("mailbox")
@click.pass_obj
def list_entries(store: str, account: str, mailbox: str) -> None:
    """Show who may use MAILBOX of ACCOUNT besides its owner, one a line."""

    async def work(directory: Any) -> None:
        from mailkit.rights import format_rights

        for entry in await _checked(store, directory).get_acl(account=account, mailbox=mailbox):
            shown = displayed_address(entry.identifier)
            click.echo(f"{shown} {format_rights(entry.rights)}")

    administer(store, work, about=f"{account}, {mailbox}")


# What begins with a hyphen takes rights away, and is no option.
@acl.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("account")
@click.argument("mailbox")
@click.argument("identifier")
@click.argument("rights")
@click.pass_obj
def set_entry(store: str, account: str, mailbox: str, identifier: str, rights: str) -> None:
    """Give IDENTIFIER these RIGHTS in MAILBOX of ACCOUNT.

    +RIGHTS adds some, -RIGHTS takes some.
    """
    from mailkit.rights import RightsOp, UnknownRight, parse_rights

    op = {"+": RightsOp.ADD, "-": RightsOp.REMOVE}.get(rights[:1], RightsOp.REPLACE)
    try:
        given = parse_rights(rights if op is RightsOp.REPLACE else rights[1:])
    except UnknownRight as error:
        raise click.BadParameter(str(error), param_hint="RIGHTS") from error

    async def work(directory: Any) -> None:
        await _checked(store, directory).set_acl(
            account=account, mailbox=mailbox, identifier=identifier, rights=given, op=op
        )
        click.echo(f"Changed the rights of {identifier}.")

    administer(store, work, about=f"{account}, {mailbox}")


@acl.command("remove", context_settings={"ignore_unknown_options": True})
@click.argument("account")
@click.argument("mailbox")
@click.argument("identifier")
@click.pass_obj
def remove_entry(store: str, account: str, mailbox: str, identifier: str) -> None:
    """Remove the entry of IDENTIFIER for MAILBOX of ACCOUNT."""
    from mailkit.rights import NO_RIGHTS, RightsOp

    async def work(directory: Any) -> None:
        await _checked(store, directory).set_acl(
            account=account,
            mailbox=mailbox,
            identifier=identifier,
            rights=NO_RIGHTS,
            op=RightsOp.REPLACE,
        )
        click.echo(f"Removed {identifier}.")

    administer(store, work, about=f"{account}, {mailbox}")


@acl.command()
@click.argument("account", required=False)
@click.option("--off", is_flag=True, help="Make it an account like any other again.")
@click.pass_obj
def public(store: str, account: str | None, off: bool) -> None:
    """Put the mailboxes of ACCOUNT below Shared.

    Without ACCOUNT, show the accounts that are.

    It gives nobody rights; it lets those who may share them share them with everybody.
    """
    if account is None and off:
        raise click.UsageError("--off needs an ACCOUNT")

    async def work(directory: Any) -> None:
        access = _checked(store, directory)
        if account is None:
            for name in await access.list_public():
                click.echo(displayed_address(name))
        else:
            await access.set_public(account=account, public=not off)
            click.echo(f"{account} is {'not public any more' if off else 'public'}.")

    administer(store, work, about=account or "")


def _checked(store: str, directory: Any) -> Any:
    from mailkit.interfaces import IAccessDirectory

    if not IAccessDirectory.providedBy(directory):
        raise SettingError(f"{store} has no access control lists")
    return directory

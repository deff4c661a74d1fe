"""Refuses mail with programs in it: twistd -n mailkit-smtp ... --hook hook.NoPrograms."""

import email

from twisted.internet.threads import deferToThread

from mailkit.hooks import AddHeader, MailHook, Reject


class NoPrograms(MailHook):
    def __init__(self, endings=".exe .scr .js"):  # or --hook "hook.NoPrograms:.exe .com"
        self._endings = tuple(endings.split())

    def mail(self, session, envelope):
        if session.account is None:
            return AddHeader("X-From-Outside", session.connection.peer)

    async def message(self, session, envelope, message):
        with message.open() as file:
            parsed = await deferToThread(email.message_from_binary_file, file)
        for part in parsed.walk():
            name = part.get_filename("").lower()
            if name.endswith(self._endings):
                return Reject(f"Programs such as {name} are not taken here", 554, "5.7.1")

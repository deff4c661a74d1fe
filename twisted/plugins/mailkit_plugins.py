"""The commands that mailkit adds to twistd; their modules are loaded when one of them is used."""

from twisted.application.service import ServiceMaker

mailkit = ServiceMaker(
    "mailkit",
    "mailkit.tap.mail",
    "Mail server: SMTP, LMTP, submission, POP3, IMAP and FTP over one store.",
    "mailkit",
)
mailkit_smtp = ServiceMaker(
    "mailkit SMTP",
    "mailkit.tap.smtp",
    "SMTP server that takes mail for local users.",
    "mailkit-smtp",
)
mailkit_lmtp = ServiceMaker(
    "mailkit LMTP",
    "mailkit.tap.lmtp",
    "LMTP server to which other mail servers deliver.",
    "mailkit-lmtp",
)
mailkit_submission = ServiceMaker(
    "mailkit submission",
    "mailkit.tap.submission",
    "Server to which users' mail programs submit mail.",
    "mailkit-submission",
)
mailkit_pop3 = ServiceMaker("mailkit POP3", "mailkit.tap.pop3", "POP3 server.", "mailkit-pop3")
mailkit_ftp = ServiceMaker(
    "mailkit FTP",
    "mailkit.tap.ftp",
    "FTP server for accounts' files.",
    "mailkit-ftp",
)
mailkit_mta_sts = ServiceMaker(
    "mailkit MTA-STS",
    "mailkit.tap.mta_sts",
    "Web server for the site's own MTA-STS policy.",
    "mailkit-mta-sts",
)
mailkit_no_mail = ServiceMaker(
    "mailkit no mail",
    "mailkit.tap.no_mail",
    "Server for a host that accepts no mail: says so.",
    "mailkit-no-mail",
)
mailkit_imap = ServiceMaker("mailkit IMAP", "mailkit.tap.imap", "IMAP server.", "mailkit-imap")
mailkit_relay = ServiceMaker(
    "mailkit relay",
    "mailkit.tap.relaying",
    "Outbound queue for the mail of this site's servers and programs.",
    "mailkit-relay",
)

"""Mail protocols for Twisted: SMTP, POP3 and IMAP over contracts that anyone can implement."""

__version__ = "0.1.0"

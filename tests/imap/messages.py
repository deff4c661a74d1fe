"""Messages that the tests put into mailboxes."""

PLAIN = (
    b"From: Bob <bob@example.net>\r\nTo: ann@example.org\r\nSubject: plain\r\n\r\nHello\r\nyou\r\n"
)
NESTED = (
    b"From: carl@example.com\r\nSubject: nested\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n'
    b"--b\r\nContent-Type: text/plain\r\nX-Part: one\r\n\r\nfirst\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: inner\r\nFrom: dora@example.com\r\n"
    b'Content-Type: multipart/alternative; boundary="c"\r\n\r\n'
    b"--c\r\nContent-Type: text/plain\r\n\r\ninner text\r\n"
    b"--c\r\nContent-Type: text/html\r\n\r\n<p>\r\n--c--\r\n"
    b"\r\n--b--\r\n"
)

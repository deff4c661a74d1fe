"""Data connections under TLS."""

from __future__ import annotations

import ftplib
import io
import select
import socket
import ssl

from tests.ftp.loopback import LARGE, PASSWORD, USER, FTPCase
from tests.support import PATIENCE


class ProtectionTests(FTPCase):
    def client(self, version: ssl.TLSVersion) -> ftplib.FTP_TLS:
        context = self.client_tls()
        context.minimum_version = context.maximum_version = version
        client = ftplib.FTP_TLS(timeout=PATIENCE, context=context)
        client.connect("127.0.0.1", self.port)
        client.login(USER, PASSWORD)
        client.prot_p()
        client.voidcmd("TYPE I")
        return client

    async def test_an_upload_is_not_disturbed_by_session_tickets(self) -> None:
        def work() -> None:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                client = self.client(version)
                data = client.transfercmd("STOR new")
                self.assertEqual(data.version(), version.name.replace("_", "."))
                data.sendall(LARGE)
                # What nobody reads would break the connection off when the client closes it.
                self.assertEqual(select.select([data], [], [], 0.2)[0], [])
                data.unwrap()
                data.close()
                client.voidresp()
                self.assertEqual((self.home / "new").read_bytes(), LARGE)
                received = io.BytesIO()
                client.retrbinary("RETR new", received.write)
                self.assertEqual(received.getvalue(), LARGE)
                client.quit()

        await self.in_thread(work)

    async def test_an_upload_that_does_not_end_as_tls_does_is_not_whole(self) -> None:
        def work() -> None:
            client = self.client(ssl.TLSVersion.TLSv1_3)
            data = client.transfercmd("STOR new")
            data.sendall(b"begin")
            data.close()
            self.assertEqual(client.getmultiline()[:3], "426")
            client.quit()

        await self.in_thread(work)

    async def test_a_client_that_reads_the_reply_before_it_ends_tls(self) -> None:
        def work() -> None:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                client = self.client(version)
                for command, expected in (("RETR large", LARGE), ("NLST", b"")):
                    data = client.transfercmd(command)
                    received = b"".join(iter(lambda data=data: data.recv(65536), b""))
                    self.assertTrue(received.startswith(expected))
                    self.assertEqual(client.voidresp()[:3], "226")
                    data.close()
                client.quit()

        await self.in_thread(work)

    async def test_what_is_sent_before_tls_is_not_heard_after(self) -> None:
        def work() -> None:
            with socket.create_connection(("127.0.0.1", self.port), 30) as plain:
                plain.recv(100)
                plain.sendall(f"AUTH TLS\r\nUSER {USER}\r\nPASS {PASSWORD}\r\n".encode())
                self.assertEqual(plain.recv(100), b"234 Begin TLS\r\n")
                with self.client_tls().wrap_socket(plain, server_hostname="localhost") as client:
                    client.sendall(b"PWD\r\n")
                    self.assertEqual(client.recv(100), b"530 Log in first\r\n")

        await self.in_thread(work)

    async def test_a_new_login_after_auth(self) -> None:
        def work() -> None:
            client = ftplib.FTP_TLS(timeout=PATIENCE, context=self.client_tls())
            client.connect("127.0.0.1", self.port)
            client.login(USER, PASSWORD, secure=False)
            client.auth()
            with self.assertRaises(ftplib.error_perm):
                client.pwd()
            client.close()

        await self.in_thread(work)

"""A server that speaks TLS under a certificate of its own making, in front of one that does not."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest


@dataclass(frozen=True)
class Certificate:
    """A certificate for 127.0.0.1 and its key, as PEM files."""

    path: Path
    key: Path


def self_signed(folder: Path) -> Certificate:
    """A new certificate, made by the `openssl` program; skips the test where there is none."""
    if shutil.which("openssl") is None:
        pytest.skip("the program openssl, which makes the test's certificate, is not here")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(made.key),
            "-out", str(made.path),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return made


@asynccontextmanager
async def front(certificate: Certificate, behind: str) -> AsyncIterator[str]:
    """Terminates TLS for the plain server at the URL `behind`; gives its own https URL."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.path, certificate.key)
    target = urlsplit(behind)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()

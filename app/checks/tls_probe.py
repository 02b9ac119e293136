"""Whether a server uses TLS at a port that was called in plain HTTP, and whether it offers HTTP/2.

Servers answer such a call in many ways: they close the connection, send a TLS alert, or an error page. Only a handshake shows
the cause.
"""

import asyncio
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

SECONDS: Final = 5.0


async def uses_tls(url: str) -> bool:
    """Whether the server at the host and port of `url` makes a TLS handshake, with any certificate. Sends no request."""
    address = urlsplit(url)
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(
                address.hostname, address.port or 80, ssl=ssl.create_default_context()
            )
    except ssl.SSLCertVerificationError:
        return True
    except (OSError, TimeoutError, ValueError):
        return False
    writer.transport.abort()
    return True


async def offers_http2(url: str, ca_file: Path | None = None) -> bool | None:
    """Whether the server at an https:// address offers HTTP/2 in its TLS handshake; None without TLS or a connection. Sends no
    request."""
    address = urlsplit(url)
    if address.scheme != "https":
        return None
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(address.hostname, address.port or 443, ssl=context)
    except (OSError, TimeoutError, ValueError):
        return None
    connection = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    return isinstance(connection, ssl.SSLObject) and connection.selected_alpn_protocol() == "h2"

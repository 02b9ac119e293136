"""Whether a server uses TLS at a port that was called in plain HTTP.

Servers answer such a call in many ways: they close the connection, send a TLS alert, or an error page. Only a handshake shows
the cause.
"""

import asyncio
import ssl
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

"""certificate files → what each door needs to encrypt, and to ask its clients for theirs."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from service.settings import Settings


@dataclass(frozen=True)
class Tls:
    """PEM files: our chain and its key; who signs certificates of clients, if they need one."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def for_uvicorn(self) -> dict[str, Any]:
        """Arguments of `uvicorn.Config`."""
        options: dict[str, Any] = {"ssl_certfile": self.cert, "ssl_keyfile": self.key}
        if self.client_ca:
            options |= {"ssl_ca_certs": str(self.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
        return options

    def for_grpc(self) -> grpc.ServerCredentials:
        """Raises OSError where a file cannot be read."""
        authority = self.client_ca.read_bytes() if self.client_ca else None
        pair = (self.key.read_bytes(), self.cert.read_bytes())
        return grpc.ssl_server_credentials(
            [pair], root_certificates=authority, require_client_auth=authority is not None
        )


def tls_of(settings: Settings) -> Tls | None:
    """What the settings name, or None where the doors are not encrypted."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Tls(settings.tls_cert, settings.tls_key, settings.tls_client_ca)

"""who may ask what of the service, and how much: keys, the doors that ask for them, and TLS."""

from contextvars import ContextVar
from typing import Literal

Scope = Literal["infer", "admin"]
ADMIN: Scope = "admin"

granted: ContextVar[frozenset[str]] = ContextVar("granted", default=frozenset())
"""What the caller of this request may do beyond what everybody may."""

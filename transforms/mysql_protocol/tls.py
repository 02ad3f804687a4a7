"""Whether a connection uses TLS, and what is checked, by the mode that the job file names."""

import ssl
from typing import Any


def tls_parameters(mode: str, rootcert: str | None) -> dict[str, Any]:
    """PyMySQL's parameters for a mode."""
    if mode == "disable":
        return {"ssl_disabled": True}
    if mode == "prefer" and rootcert is None:
        return {}
    context = ssl.create_default_context(cafile=rootcert)
    # Certificates that a server made for itself are no strict ones.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = mode == "verify-full"
    if mode == "require" and rootcert is None:
        context.verify_mode = ssl.CERT_NONE
    return {"ssl": context}

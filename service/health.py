"""URL of `/readyz` → exit code 0 where it is answered with 200: the health check of a container.

Needs no package, so that asking every few seconds costs next to nothing.
"""

import ssl
import sys
from urllib.error import URLError
from urllib.request import urlopen

TIMEOUT_S = 3.0


def ready(url: str) -> bool:
    """Whether the service at this address of our own machine takes requests.

    Its certificate is not looked at: it is for the name that clients know.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with urlopen(url, timeout=TIMEOUT_S, context=context) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(0 if ready(sys.argv[1]) else 1)

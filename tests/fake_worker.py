"""a worker without models, for tests of the supervisor: beats, answers with its pid, obeys SIGTERM.

Its first argument says how it behaves: `good`, `broken` (ends at once), or `deaf` (to SIGTERM).
"""

import os
import signal
import socket
import sys
import threading
import time


def serve(listening: socket.socket) -> None:
    while True:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(str(os.getpid()).encode())


def main(kind: str, http: int, pipe: int) -> None:
    if kind == "broken":
        sys.exit(3)
    ignore = signal.SIG_IGN if kind == "deaf" else (lambda *_: sys.exit(0))
    signal.signal(signal.SIGTERM, ignore)
    listening = socket.socket(fileno=http)
    threading.Thread(target=serve, args=[listening], daemon=True).start()
    while True:
        os.write(pipe, b".")
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[3]), int(sys.argv[5]))

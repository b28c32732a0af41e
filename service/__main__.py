"""`python -m service serve|install`: shipped models into the store, then both doors open."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from types import FrameType

import typer

# BentoML reads these when it is imported: no usage reports, no spans that nobody collects.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")

from service import store
from service.settings import Settings
from service.setup import install_shipped
from service.tasks import tasks

START_S = 120.0
CURL = """curl -s http://{host}:{port}/translation -H 'Content-Type: application/json' \\
  -d '{{"text": "Where is the library?", "source": "en", "target": "de"}}'"""

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def install() -> None:
    """Put the shipped models in the store."""
    for name, outcome in install_shipped().items():
        typer.echo(f"{name}: {outcome}")


@app.command()
def serve() -> None:
    """Install the shipped models, then serve them over HTTP and gRPC until stopped."""
    settings = Settings()
    for name, outcome in install_shipped().items():
        if not store.holds(outcome):
            typer.echo(f"{name}: {outcome}", err=True)
    command = [sys.executable, "-m", "bentoml", "serve", "service.app:Attendant"]
    command += ["--host", settings.host, "--port", str(settings.http_port)]
    command += ["--timeout-graceful-shutdown", str(int(settings.drain_s) + 5)]
    server = subprocess.Popen(command)

    def forward(number: int, frame: FrameType | None) -> None:
        server.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    if not _wait_until_ready(settings, server):
        server.terminate()
        raise typer.Exit(server.wait() or 1)
    typer.echo(f"\nHTTP  http://{settings.host}:{settings.http_port}  (interactive page at /docs)")
    typer.echo(f"gRPC  {settings.host}:{settings.grpc_port}  (attendant.v1.Attendant, reflection)")
    for task in tasks():
        typer.echo(f"  /{task.name:30} {store.newest(task.name) or 'no model'}")
    typer.echo("\n" + CURL.format(host=settings.host, port=settings.http_port))
    raise typer.Exit(server.wait())


def _wait_until_ready(settings: Settings, server: subprocess.Popen[bytes]) -> bool:
    url = f"http://{settings.host}:{settings.http_port}/readyz"
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                if response.status == 200:
                    return True
        except OSError:
            time.sleep(0.2)
    return False


if __name__ == "__main__":
    app()

"""`python -m service serve|install`: shipped models into the store, then both doors open."""

import os
import shutil
from pathlib import Path
from tempfile import mkdtemp

import typer

# BentoML reads these when it is imported: no usage reports, no spans that nobody collects.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")

from service import store
from service.access.command import app as keys
from service.rollout import command as rollout
from service.settings import Settings
from service.setup import install_shipped
from service.supervisor import Supervisor
from service.tasks import tasks

CURL = """curl -s http://{host}:{port}/translation -H 'Content-Type: application/json' \\
  -d '{{"text": "Where is the library?", "source": "en", "target": "de"}}'"""

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.add_typer(keys, name="keys")
rollout.add_to(app)


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
    metrics = settings.metrics_dir
    if metrics is None and settings.workers > 1:
        metrics = Path(mkdtemp(prefix="attendant-metrics-"))
    try:
        supervisor = Supervisor(settings, metrics=metrics)
    except OSError as error:
        typer.echo(f"{settings.host}:{settings.http_port}: {error.strerror}", err=True)
        raise typer.Exit(1) from error

    def on_ready() -> None:
        host, port = settings.host, settings.http_port
        typer.echo(f"\nHTTP  http://{host}:{port}  (interactive page at /docs)")
        typer.echo(f"gRPC  {host}:{settings.grpc_port}  (attendant.v1.Attendant, reflection)")
        for task in tasks():
            typer.echo(f"  /{task.name:30} {store.newest(task.name) or 'no model'}")
        typer.echo("\n" + CURL.format(host=host, port=port))
        typer.echo(f"\nNewer models from the store, without a stop: kill -HUP {os.getpid()}")

    code = supervisor.run(on_ready)
    if settings.metrics_dir is None and metrics:
        shutil.rmtree(metrics, ignore_errors=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    app()

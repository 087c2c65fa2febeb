"""`pnasnet serve`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..support.cluster import LOCAL
from .errors import Failure, checking_usage
from .logs import show_logs
from .numbers import LARGEST, Real, Whole
from .options import ENGINE, PRECISION, QUIET, THREADS, count, flag
from .sections import command, pass_as, section
from .values import models as models_or_paths
from .values import one_of, paths

if TYPE_CHECKING:
    from ..engines import EngineOptions
    from ..serve import ServerLimits
    from ..serve.on_ray import ReplicaOptions
    from ..serve.run import Address


def _choose_cluster(ray: bool = False, address: str | None = None, replicas: int = 1) -> "ReplicaOptions | None":
    if ray or address is not None:
        from ..serve.on_ray import ReplicaOptions

        return ReplicaOptions(address or LOCAL, replicas)
    if replicas != 1:
        raise click.UsageError("--replicas can only be used on a cluster: add --ray or --address")
    return None


def _choose_address(host: str, port: int, grpc_port: int, no_grpc: bool, drain: float) -> "Address":
    from ..serve.run import Address

    return Address(host, port, None if no_grpc else grpc_port, drain)


def _choose_limits(max_queue: int, max_images: int, max_body: int) -> "ServerLimits":
    from ..serve import ServerLimits

    return ServerLimits(body=max_body << 20, images=max_images, queue=max_queue)


@command(short_help="Serve features, classes and similar images over HTTP and gRPC.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=models_or_paths)
@click.option(
    "--features",
    metavar="PATH",
    shell_complete=paths,
    help="Find similar images among these features, written by `pnasnet embed`.",
)
@section(
    "Connections",
    pass_as(
        "listening",
        _choose_address,
        click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on."),
        click.option("--port", type=Whole(0, 65535), default=8000, show_default=True, metavar="N",
                     help="Port of HTTP; 0 for any free one."),
        click.option("--grpc-port", type=Whole(0, 65535), default=8001, show_default=True, metavar="N",
                     help="Port of gRPC; 0 for any free one."),
        flag("--no-grpc", help="Serve HTTP only."),
        click.option("--drain", type=Real(0), default=5.0, show_default=True, metavar="SECONDS",
                     help="Time for accepted requests after SIGTERM."),
    ),
    click.option("--api-key-file", type=click.Path(path_type=Path), metavar="FILE",
                 help="Require one of the keys in FILE, one per line, as `Authorization: Bearer KEY`."),
    click.option("--allow-origin", "origins", multiple=True, metavar="ORIGIN",
                 help="Let web pages of ORIGIN use the server (CORS). May be repeated.  [default: none]"),
    click.option("--allow-url-host", "hosts", multiple=True, metavar="HOST",
                 help="Fetch images at URLs of HOST. May be repeated.  [default: none]"),
)  # fmt: skip
@section(
    "Load",
    click.option("--batch-size", type=Whole(), metavar="N",
                 help="Limit of the images per call of the network.  [default: 8; 32 for a small network]"),
    pass_as(
        "limits",
        _choose_limits,
        click.option("--max-queue", type=Whole(), default=256, show_default=True, metavar="N",
                     help="Limit of the images that each model has accepted and not answered; more get 429."),
        click.option("--max-images", type=Whole(), default=64, show_default=True, metavar="N",
                     help="Limit of the images per request."),
        click.option("--max-body", type=Whole(most=LARGEST >> 20), default=32, show_default=True, metavar="MIB",
                     help="Limit of a request in MiB, before and after decompression."),
    ),
)  # fmt: skip
@section(
    "Ray cluster",
    pass_as(
        "cluster",
        _choose_cluster,
        flag("--ray", help="Serve HTTP by Ray Serve; without --address, on a new cluster on this machine."),
        click.option("--address", metavar="ADDRESS", shell_complete=one_of("auto"),
                     help="Address of a Ray cluster: auto or HOST:PORT. All machines must reach the models."),
        count("--replicas", help="Number of replicas, each with its own models and queue.  [default: 1]"),
    ),
)  # fmt: skip
@section(
    "Engine",
    pass_as("engine", "pnasnet.engines:EngineOptions", ENGINE, PRECISION, THREADS),
)
@QUIET
def serve(
    models: tuple[str, ...],
    features: str | None,
    listening: "Address",
    api_key_file: Path | None,
    origins: tuple[str, ...],
    hosts: tuple[str, ...],
    batch_size: int,
    limits: "ServerLimits",
    cluster: "ReplicaOptions | None",
    engine: "EngineOptions",
    quiet: bool,
) -> None:
    """Serve features, classes and similar images over HTTP and gRPC.

    A MODEL is a name from `pnasnet models`, a TF-Hub handle or URL, or the path of a file or folder with weights.
    Requests that name no model use the first one. By default, the server accepts connections from this machine only.
    On a Ray cluster, it serves HTTP only.

    \b
      pnasnet serve pnasnet_small
      curl -F image=@photo.jpg http://127.0.0.1:8000/embed
      pnasnet serve pnasnet_large model/ --features features/ --port 8000 --grpc-port 8001
      pnasnet serve pnasnet_large --ray --replicas 4
    """
    from ..serve.auth import ApiKeys
    from ..serve.run import run
    from ..serve.settings import Settings

    show_logs(quiet=quiet)
    with checking_usage():
        settings = Settings(models, engine, limits, batch_size, None, features, hosts, origins)
    if api_key_file is not None:
        settings = replace(settings, keys=ApiKeys.from_file(api_key_file))
    if cluster is not None:
        from ..serve.on_ray import run_on_ray

        run_on_ray(settings, cluster, listening.host, listening.port, listening.drain)
    elif not run(*settings.open(), listening):
        raise Failure("the server ended before all accepted requests were answered")

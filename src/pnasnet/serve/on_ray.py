"""The server on Ray Serve: replicas of the ASGI application on the machines of a cluster, behind one address.

client ─► Ray Serve's proxy ─► one of the replicas, each with its own models, queue and limits
"""

import logging
import os
import signal
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from ..errors import InputError, MissingExtraError, PnasnetError
from ..extract.on_ray import enter
from ..support.cluster import LOCAL, cluster
from ..support.text import counted
from ..support.typed import convert_fields
from .settings import Settings

log = logging.getLogger(__name__)

_NAME = "pnasnet"
_ONGOING = 10_000
"""Limit of the requests that Ray passes to a replica at a time: high, so that the replica itself refuses the excess."""


@dataclass(frozen=True)
class ReplicaOptions:
    """The cluster to use, and the number of replicas on it. Raises `InputError` for less than one replica."""

    address: str = LOCAL
    """`local` (a new cluster on this machine), `auto`, or `HOST:PORT`."""
    replicas: int = 1

    def __post_init__(self) -> None:
        convert_fields(self, replicas=1)


def run_on_ray(settings: Settings, options: ReplicaOptions, host: str, port: int, drain: float) -> None:
    """Serve over HTTP until SIGINT or SIGTERM; accepted requests are answered, for up to `drain` seconds.

    A replica occupies as many processors as its engine has threads: one by default.

    Raises:
        MissingExtraError: Ray Serve is not installed.
        InputError: no cluster answers, or it has too few processors.
        PnasnetError: Ray cannot start the replicas; the errors of `Settings.open`.
    """
    try:
        from ray import serve
    except ImportError as error:
        raise MissingExtraError.of("ray[serve]", "serve-ray", "serving on a cluster") from error
    settings.open()  # a wrong name fails here, in one line, before the cluster is used
    cpus = settings.engine.threads or 1
    settings, directory = replace(settings, engine=replace(settings.engine, threads=cpus)), str(Path.cwd())

    def build() -> Starlette:
        enter(directory)
        return settings.open()[1]

    replicas = serve.deployment(
        num_replicas=options.replicas,
        max_ongoing_requests=_ONGOING,
        graceful_shutdown_timeout_s=drain,
        ray_actor_options={"num_cpus": cpus},
    )(serve.ingress(build)())
    with cluster(options.address, "serving on a cluster") as ray:
        if ray.cluster_resources().get("CPU", 0) < options.replicas * cpus:
            wanted = f"{counted(options.replicas, 'replica')} of {counted(cpus, 'processor')}"
            raise InputError(f"the cluster has no room for {wanted}: use fewer --replicas or --threads")
        quiet = {"log_level": "WARNING", "enable_access_log": False}
        serve.start(http_options={"host": host, "port": port}, logging_config=quiet)
        try:
            serve.run(replicas.bind(), name=_NAME, route_prefix="/", logging_config=quiet)
            shown = f"[{host}]" if ":" in host else host
            log.info("listening on http://%s:%d, with %s", shown, port, counted(options.replicas, "replica"))
            _wait()
        except RuntimeError as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise PnasnetError(f"Ray Serve cannot start the replicas: {reason}") from error
        finally:
            _end(serve)


def _wait() -> None:
    """Wait for SIGINT or SIGTERM; a second one ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, frame: Any) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda number, frame: os._exit(128 + number))
        log.info("signal %d: answering accepted requests, then stopping", number)
        stop.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, on_signal)
    stop.wait()


def _end(serve: Any) -> None:
    """Remove the replicas, and stop Ray Serve if it runs no other application."""
    serve.delete(_NAME)
    if not serve.status().applications:
        serve.shutdown()

"""The server on Ray Serve: replicas of the ASGI application on the machines of a cluster, behind one address.

client ─► Ray Serve's proxy ─► one of the replicas, each with its own models, queue and limits
"""

import logging
import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from ..errors import InputError, MissingExtraError, PnasnetError
from ..extract.on_ray import enter
from ..support.cluster import LOCAL, cluster
from ..support.text import counted
from ..support.typed import convert_fields
from .run import listen
from .settings import Settings

log = logging.getLogger(__name__)

_NAME = "pnasnet"
_QUIET = {"log_level": "WARNING", "enable_access_log": False}
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
        InputError: no cluster answers, it has too few processors, or the port is 0.
        OutputError: the address cannot be listened on, on a new cluster on this machine.
        PnasnetError: Ray Serve or a replica cannot start; the errors of `Settings.open`.
    """
    try:
        from ray import serve
    except ImportError as error:
        raise MissingExtraError.of("ray[serve]", "serve-ray", "serving on a cluster") from error
    if not port:
        raise InputError("port 0 cannot be used on a Ray cluster: choose another --port")
    if options.address == LOCAL:
        listen(host, port).close()  # Ray needs many seconds to notice that a port is taken
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
        try:
            place = _start(serve, host, port)
            serve.run(replicas.bind(), name=_NAME, route_prefix="/", logging_config=_QUIET)
            log.info("listening on %s, with %s", place, counted(options.replicas, "replica"))
            _wait()
        except Exception as error:  # Ray raises many classes, RuntimeError and TimeoutError among them
            raise PnasnetError(f"Ray Serve cannot start: {_reason(serve, error)}") from error
        finally:
            _end(serve)


def _start(serve: Any, host: str, port: int) -> str:
    """Start Ray Serve; return where it listens. If it runs already, its own host and port remain."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    runs = bool(serve.status().proxies)
    serve.start(http_options={"host": host, "port": port}, logging_config=_QUIET)
    if runs:
        return "the address of Ray Serve, which runs already"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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
    """Remove the replicas, and stop Ray Serve if it runs no other application. Log errors instead of raising them."""
    try:
        serve.delete(_NAME)
        if not serve.status().applications:
            serve.shutdown()
    except Exception as error:  # raised, it would hide the one that ended the server
        log.warning("Ray Serve could not be stopped: %s", _last_line(error))


def _reason(serve: Any, error: Exception) -> str:
    """Return the line that says why Ray Serve did not start: a replica's, since `error` only names the deployment."""
    with suppress(Exception):  # if Ray has failed itself, `error` says why
        for replica in serve.status().applications[_NAME].deployments.values():
            if replica.message:
                return _last_line(replica.message)
    return _last_line(error)


def _last_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]

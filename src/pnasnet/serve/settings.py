"""The settings of a server as picklable values, opened in this process or by each replica on a cluster."""

import re
from dataclasses import dataclass, field

from starlette.applications import Starlette

from ..engines import EngineOptions
from ..engines.options import DEFAULTS
from ..errors import InputError
from ..support.urls import host_names
from .app import create_app
from .auth import ApiKeys
from .limits import ServerLimits
from .models import open_models
from .service import Service
from .similar import open_gallery

_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^\s/@?#]+")
"""An origin as browsers send it (scheme, host and port), or `*` for all."""


@dataclass(frozen=True)
class Settings:
    """The arguments of `Service` and `create_app`, with names instead of opened models and features.

    Raises `InputError` for a value that is not a host or an origin.
    """

    models: tuple[str, ...]
    engine: EngineOptions = DEFAULTS
    limits: ServerLimits = field(default_factory=ServerLimits)
    batch_size: int | None = None
    """Limit of the images per call of an engine; by default that of `Service`."""
    keys: ApiKeys | None = None
    features: str | None = None
    """Path of the features to search for similar images."""
    url_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    """Origins whose web pages may call the server (CORS)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "url_hosts", host_names(self.url_hosts))
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin):
                raise InputError(f"{origin!r} is not an origin: write scheme and host, such as https://a.example, or *")

    def open(self) -> tuple[Service, Starlette]:
        """Open the models and features. Raises the errors of `open_models` and `open_gallery`."""
        modules = open_models(self.models, self.engine)
        gallery = open_gallery(self.features, modules) if self.features else None
        service = Service(
            modules,
            self.limits,
            batch_size=self.batch_size,
            keys=self.keys,
            gallery=gallery,
            url_hosts=self.url_hosts,
        )
        return service, create_app(service, allow_origins=self.origins)

"""One server of the shipped model for the tests of all protocols."""

from collections.abc import Iterator

import pytest

from pnasnet import Module
from pnasnet.serve import Service

from tests.helpers.serving import Live, live


@pytest.fixture(scope="session")
def module() -> Module:
    return Module("pnasnet_tiny")


@pytest.fixture(scope="session")
def server(module: Module) -> Iterator[Live]:
    with live(Service({"pnasnet_tiny": module})) as running:
        yield running

"""The description of the paths: complete, and on a page."""

import re

import requests
from starlette.routing import Route

from pnasnet.serve import Service, create_app
from pnasnet.serve.auth import ApiKeys
from pnasnet.serve.openapi import describe

from tests.helpers.serving import Live, fake_models


def test_every_route_is_described() -> None:
    service = Service(fake_models())
    described = {(method.upper(), path) for path, methods in describe(service)["paths"].items() for method in methods}
    served = {
        (method, route.path)
        for route in create_app(service).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert described == served - {("GET", path) for path in ("/", "/docs", "/openapi.json")}


def test_parameters_of_paths_are_declared() -> None:
    for path, methods in describe(Service(fake_models()))["paths"].items():
        for operation in methods.values():
            declared = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))


def test_keys_are_stated() -> None:
    assert "security" not in describe(Service(fake_models()))
    assert describe(Service(fake_models(), keys=ApiKeys(["secret"])))["security"] == [{"key": []}]


def test_the_document_and_its_page(server: Live) -> None:
    assert requests.get(f"{server.url}/openapi.json", timeout=30).json()["openapi"] == "3.1.0"
    text = requests.get(f"{server.url}/docs", timeout=30).text
    assert "/v1/models/{name}:predict" in text

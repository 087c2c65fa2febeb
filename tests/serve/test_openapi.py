"""The description of the paths: complete, on a page, and held to by Schemathesis."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from starlette.routing import Route

from pnasnet.serve import Service, create_app
from pnasnet.serve.auth import ApiKeys
from pnasnet.serve.openapi import describe

from tests.helpers.serving import Live, encoded, fake_models, live


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
    described = describe(Service(fake_models(), keys=ApiKeys(["secret"])))
    assert described["security"] == [{"key": []}]
    assert described["paths"]["/healthz"]["get"]["security"] == []


def test_the_document_and_its_page(server: Live) -> None:
    assert requests.get(f"{server.url}/openapi.json", timeout=30).json()["openapi"] == "3.1.0"
    text = requests.get(f"{server.url}/docs", timeout=30).text
    assert "/v1/models/{name}:predict" in text


def test_answers_are_as_described(server: Live) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    schema = schemathesis.openapi.from_dict(describe(server.service))
    good, bad = ("a.png", encoded()), ("b.png", b"no image")
    for path in ("/embed", "/classify"):
        for files in ([good], [good, bad], [bad]):
            answer = server.post(path, files=[("image", file) for file in files])
            assert answer.status_code == (400 if files == [bad] else 200)
            schema[path]["POST"].validate_response(answer)
    answer = server.post("/embed", data=encoded(), headers={"Accept": "application/octet-stream"})
    schema["/embed"]["POST"].validate_response(answer)
    failures = schemathesis.core.failures  # one failure is raised alone
    with pytest.raises((failures.Failure, failures.FailureGroup)):
        schema["/classify"]["POST"].validate_response(server.post("/embed", data=encoded()))


@pytest.mark.slow
def test_requests_made_from_the_description(tmp_path: Path) -> None:
    """No answer is a 5xx or not described; what breaks the description is refused, and so is a request with no key."""
    pytest.importorskip("schemathesis")
    with live(Service(fake_models(), keys=ApiKeys(["secret"]))) as server:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--no-color"),
            *("--header", "Authorization: Bearer secret", "--phases", "examples,coverage,fuzzing"),
            # Random bytes are no image: a valid request may be refused.
            *("--exclude-checks", "positive_data_acceptance", "--warnings", "off", "--continue-on-failure"),
            *("--seed", "16", "--max-examples", "5", "--generation-database", "none", "--request-timeout", "60"),
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    found = re.search(r"(\d+) generated", done.stdout)
    assert found, done.stdout
    assert int(found[1]) > 300

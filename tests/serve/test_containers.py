"""The container file and docs/serve.md for operators, against the server's real options, paths and metrics."""

import re
from pathlib import Path
from typing import Any

import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pnasnet.cli.serve import serve

from tests.helpers.serving import Live, encoded

ROOT = Path(__file__).parents[2]


def pod() -> dict[str, Any]:
    found = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/serve.md").read_text(), re.DOTALL)
    assert found
    spec: dict[str, Any] = yaml.safe_load(found[1])["spec"]
    return spec


def test_the_example_has_real_options_ports_and_probes(server: Live) -> None:
    spec = pod()
    (container,) = spec["containers"]
    name, *arguments = container["args"]
    assert name == "serve"
    options = serve.make_context("serve", list(arguments), resilient_parsing=False).params
    assert options["host"] == "0.0.0.0"
    assert [port["containerPort"] for port in container["ports"]] == [options["port"], options["grpc_port"]]
    for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
        probe = container[kind]["httpGet"]
        assert probe["port"] == options["port"]
        assert requests.get(server.url + probe["path"], timeout=30).status_code == 200
    waited = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert waited + options["drain"] < spec["terminationGracePeriodSeconds"]


def test_the_user_of_the_image_owns_what_is_written() -> None:
    lines = (ROOT / "Dockerfile").read_text()
    (user,) = re.findall(r"^USER (\d+)$", lines, re.MULTILINE)
    spec = pod()
    assert f"useradd --uid {user} " in lines
    assert spec["securityContext"]["fsGroup"] == int(user)
    (mount,) = spec["containers"][0]["volumeMounts"]
    assert f"PNASNET_CACHE={mount['mountPath']} " in lines


def test_commands_of_the_page_have_real_options() -> None:
    known = {name for parameter in serve.params for name in parameter.opts} | {"--help"}
    text = (ROOT / "docs/serve.md").read_text()
    lines = [line for line in re.findall(r"pnasnet serve .*|pnasnet-serve serve .*", text) if "|" not in line]
    used = {option for line in lines for option in re.findall(r"(?<= )--[a-z-]+", line.partition("#")[0])}
    assert used
    assert used <= known


def test_the_page_lists_all_metrics_and_their_labels(server: Live) -> None:
    assert server.post("/embed", data=encoded()).status_code == 200
    text = requests.get(server.url + "/metrics", timeout=60).text
    served = {
        family.name + "_total" * (family.type == "counter"): (family.type, set(family.samples[0].labels) - {"le"})
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")
    }
    page = (ROOT / "docs/serve.md").read_text()
    rows = re.findall(r"^\| `(pnasnet_\w+)` \| (\w+).*? \| (.*) \|$", page, re.MULTILINE)
    listed = {name: (kind, set(re.findall(r"`(model|protocol|status|reason)`", labels))) for name, kind, labels in rows}
    assert listed == served

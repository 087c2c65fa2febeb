"""The HTTP paths of `pnasnet serve`: its OpenAPI description, written for `sphinxcontrib-openapi` at each build.

Errors are the same for every path. The directive `http-errors` lists them once, and the paths keep only their answers.
"""

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pnasnet import Module
from pnasnet.serve import Service
from pnasnet.serve.openapi import describe

MODEL = "pnasnet_tiny"
FILE = "build/openapi.json"


def described() -> dict[str, Any]:
    """Return the description of a server with one model, as `/openapi.json` has it."""
    return describe(Service({MODEL: Module(MODEL, engine="fake", offline=True)}))


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all operations of a description."""
    return [operation for methods in document["paths"].values() for operation in methods.values()]


def errors(document: dict[str, Any]) -> dict[str, str]:
    """Return the meaning of each error's status, over all operations."""
    return {
        status: response["description"]
        for operation in operations(document)
        for status, response in operation["responses"].items()
        if status != "200"
    }


class HttpErrors(SphinxDirective):
    """A definition list of the statuses of errors."""

    def run(self) -> list[nodes.Node]:
        """Return the list."""
        found = nodes.definition_list()
        for status, meaning in errors(described()).items():
            item = nodes.definition_list_item("", nodes.term("", status))
            item += nodes.definition("", nodes.paragraph("", meaning))
            found += item
        return [found]


def write(app: Sphinx) -> None:
    """Write the description without the errors."""
    document = described()
    for operation in operations(document):
        operation["responses"] = {"200": operation["responses"]["200"]}
    target = Path(app.srcdir, FILE)
    text = json.dumps(document, indent=1)
    if not target.exists() or target.read_text("utf-8") != text:
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive, and the writing before pages are read."""
    app.add_directive("http-errors", HttpErrors)
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

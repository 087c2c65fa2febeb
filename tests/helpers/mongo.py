"""A stand-in for MongoDB within the process, for FiftyOne: its own server is a download of 100 MB."""

from importlib import import_module
from typing import Any

import pytest


def stand_in_for_mongodb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let FiftyOne, not yet imported, connect to a database of mongomock. Skips the test without mongomock."""
    mongomock = pytest.importorskip("mongomock", reason="mongomock is not installed: run scripts/test-integrations")
    aggregate, gridfs, store = (import_module(f"mongomock.{name}") for name in ("aggregate", "gridfs", "store"))
    content = store.ServerStore()

    def start(client: Any, *arguments: Any, **options: Any) -> None:
        known = {name: value for name, value in options.items() if name not in ("appname", "compressors")}
        mongomock.MongoClient.__init__(client, *arguments, **known, _store=content)

    client = type("Client", (mongomock.MongoClient,), {"__init__": start, "_closed": False})
    plain = aggregate._Parser._handle_array_operator

    def with_index_of_array(parser: Any, operator: str, values: Any) -> Any:
        if operator != "$indexOfArray":
            return plain(parser, operator, values)
        array, wanted = (parser.parse(value) for value in values)
        return array.index(wanted) if wanted in array else -1

    gridfs.enable_gridfs_integration()
    monkeypatch.setattr(aggregate._Parser, "_handle_array_operator", with_index_of_array)
    for module in ("pymongo", "mongoengine.connection"):
        monkeypatch.setattr(import_module(module), "MongoClient", client)
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://localhost")
    monkeypatch.setenv("FIFTYONE_DATABASE_VALIDATION", "false")
    monkeypatch.setenv("FIFTYONE_DO_NOT_TRACK", "true")

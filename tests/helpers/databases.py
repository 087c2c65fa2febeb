"""Connections to SQLite."""

import sqlite3


def is_closed(connection: sqlite3.Connection) -> bool:
    """Return whether a connection was closed."""
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False

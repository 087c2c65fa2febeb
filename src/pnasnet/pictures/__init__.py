"""Where pictures come from: files, folders, patterns, shards, archives and tables, on disk or behind a URL.

what the user named ─ list_units ─► units ─ unit.pictures() ─► pictures that are read when a decoder is free
"""

from .files import Files, find_images
from .listing import check_sources, in_units, list_units, read_list
from .named import find_named
from .storage import UnreachableError
from .unit import Picture, Unit

__all__ = [
    "Files",
    "Picture",
    "Unit",
    "UnreachableError",
    "check_sources",
    "find_images",
    "find_named",
    "in_units",
    "list_units",
    "read_list",
]

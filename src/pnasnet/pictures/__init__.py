"""Finds images in files, folders, patterns, archives and tables, on disk or behind a URL.

sources ─ list_units ─► units ─ unit.pictures() ─► pictures, which are read when a decoder is free
"""

from ..errors import UnreachableError
from .access import Access
from .files import Files, find_images
from .listing import check_sources, in_units, list_units
from .lists import read_list
from .named import find_named
from .passed_over import PassedOver
from .unit import Picture, Unit

__all__ = [
    "Access",
    "Files",
    "PassedOver",
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

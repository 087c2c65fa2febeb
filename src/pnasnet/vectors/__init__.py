"""Search in vectors: nearest neighbours, near duplicates and maps of images::

    table ─ open_features ─► Features ─ search_exactly ─► Nearest
                                └─ build_approximate ─► ApproximateIndex ─ search ─► Nearest
                                └─ build_index ─► VectorIndex ─ search ─► Nearest
                                                      └─ find_duplicates ─► Group
                                                      └─ make_map ─► PictureMap

Example:
    >>> from pathlib import Path
    >>> from pnasnet.extract import ModelChoice
    >>> from pnasnet.pictures import Access
    >>> from pnasnet.vectors import (
    ...     PAGE_POINTS, THRESHOLD, ExploreOptions, SearchOptions, build_index, duplicates_page, find_duplicates,
    ...     find_similar, make_map, map_page, open_features, similar_page, write_atlas,
    ... )
    >>> features = open_features("features.parquet")
    >>> access = Access(roots=(".",))  # the folders whose files the pages may show
    >>> answers = find_similar(features, ["photos/coffee.jpg"], 3, ModelChoice(""), SearchOptions())
    >>> Path("similar.html").write_text(similar_page(features, answers, access), "utf-8") > 1000
    True
    >>> with build_index(features) as index:
    ...     groups = [(group, features.entries(group.ids)) for group in find_duplicates(index, THRESHOLD)]
    ...     page = duplicates_page(features, groups, THRESHOLD, access)
    ...     options = ExploreOptions(points=PAGE_POINTS, projection="pca")
    ...     shown = make_map(index, options)
    >>> "coffee.jpg" in map_page(shown, "Photos", options, access), "Near duplicates" in page
    (True, True)
    >>> write_atlas(Path("map.parquet"), shown, options, access)
"""

from .approximate import ApproximateIndex, build_approximate, open_approximate
from .build import build_index
from .duplicates import THRESHOLD, Group, find_duplicates
from .duplicates_page import duplicates_page
from .explore import PAGE_POINTS, ExploreOptions, PictureMap, make_map, map_page, write_atlas
from .features import Entry, Features, open_features
from .index import VectorIndex, open_index
from .search import Nearest, search_exactly
from .similar import Answer, SearchOptions, find_similar
from .similar_page import similar_page

__all__ = [
    "PAGE_POINTS",
    "THRESHOLD",
    "Answer",
    "ApproximateIndex",
    "Entry",
    "ExploreOptions",
    "Features",
    "Group",
    "Nearest",
    "PictureMap",
    "SearchOptions",
    "VectorIndex",
    "build_approximate",
    "build_index",
    "duplicates_page",
    "find_duplicates",
    "find_similar",
    "make_map",
    "map_page",
    "open_approximate",
    "open_features",
    "open_index",
    "search_exactly",
    "similar_page",
    "write_atlas",
]

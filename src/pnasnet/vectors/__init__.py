"""Search in vectors: nearest neighbours, near duplicates and maps of images.

table ─ open_features ─► Features ─ search_exactly ─► Nearest
                            └─ build_approximate ─► ApproximateIndex ─ search ─► Nearest
                            └─ build_index ─► VectorIndex ─ search ─► Nearest
                                                  └─ find_duplicates ─► Group
                                                  └─ make_map ─► PictureMap
"""

from .approximate import ApproximateIndex, approximate_folder, build_approximate, open_approximate
from .atlas import check_port, serve_atlas
from .build import build_index
from .duplicates import RULE, THRESHOLD, Group, check_threshold, find_duplicates
from .duplicates_page import MEASURED, duplicates_page, sample_rows
from .explore import PAGE_POINTS, ExploreOptions, PictureMap, make_map, map_page, write_atlas
from .features import Entry, Features, check_comparable, open_features
from .index import VectorIndex, index_folder, open_index
from .projection import choose_projection
from .queries import Query, find_queries
from .search import Nearest, search_exactly
from .similar import Answer, SearchOptions, find_similar, model_of, wrong_order
from .similar_page import similar_page

__all__ = [
    "MEASURED",
    "PAGE_POINTS",
    "RULE",
    "THRESHOLD",
    "Answer",
    "ApproximateIndex",
    "Entry",
    "ExploreOptions",
    "Features",
    "Group",
    "Nearest",
    "PictureMap",
    "Query",
    "SearchOptions",
    "VectorIndex",
    "approximate_folder",
    "build_approximate",
    "build_index",
    "check_comparable",
    "check_port",
    "check_threshold",
    "choose_projection",
    "duplicates_page",
    "find_duplicates",
    "find_queries",
    "find_similar",
    "index_folder",
    "make_map",
    "map_page",
    "model_of",
    "open_approximate",
    "open_features",
    "open_index",
    "sample_rows",
    "search_exactly",
    "serve_atlas",
    "similar_page",
    "write_atlas",
    "wrong_order",
]

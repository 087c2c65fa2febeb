"""What is done with features: the nearest ones, near duplicates, and maps of pictures.

features.parquet ─ open_features ─► Features ─ search_exactly ─► Nearest
                                       └─ build_index ─► VectorIndex ─ search ─► Nearest
                                                            └─ find_duplicates ─► Group
                                                            └─ make_map ─► PictureMap
"""

from .build import build_index
from .duplicates import THRESHOLD, Group, check_threshold, find_duplicates
from .explore import PAGE_POINTS, ExploreOptions, PictureMap, atlas_command, make_map, map_page, write_atlas
from .features import Features, Picture, check_comparable, open_features
from .gallery import Row, Shown, gallery_page
from .index import VectorIndex, index_folder, open_index
from .projection import choose_projection
from .queries import Query, find_queries
from .search import Nearest, search_exactly

__all__ = [
    "PAGE_POINTS",
    "THRESHOLD",
    "ExploreOptions",
    "Features",
    "Group",
    "Nearest",
    "Picture",
    "PictureMap",
    "Query",
    "Row",
    "Shown",
    "VectorIndex",
    "atlas_command",
    "build_index",
    "check_comparable",
    "check_threshold",
    "choose_projection",
    "find_duplicates",
    "find_queries",
    "gallery_page",
    "index_folder",
    "make_map",
    "map_page",
    "open_features",
    "open_index",
    "search_exactly",
    "write_atlas",
]

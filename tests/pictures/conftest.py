"""What the tests of pictures share."""

import pytest

from tests.helpers.corpus import jpeg, parquet, pictures, tar, zipped


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """An image and three shards that contain it, by suffix."""
    rows = parquet(tmp_path_factory.mktemp("rows") / "a.parquet", [jpeg(0), jpeg(1)]).read_bytes()
    return {".jpg": jpeg(1), ".tar": tar(pictures(2)), ".zip": zipped(pictures(2)), ".parquet": rows}

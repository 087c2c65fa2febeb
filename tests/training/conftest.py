"""Fixtures of the training room."""

import pytest

from pnasnet.training.fit import FitResult

from tests.helpers.train_data import validation_pictures
from tests.helpers.training_runs import run


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return run(tmp_path_factory.mktemp("whole"), validation=validation_pictures())

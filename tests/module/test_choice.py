"""A model chosen by name, and what is said about models of small images."""

import logging

import pytest

from pnasnet.engines import EngineOptions
from pnasnet.module.choice import ModelChoice


def test_a_model_of_small_images_states_its_size_and_classes(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "pnasnet"):
        assert ModelChoice("pnasnet_tiny", engine=EngineOptions("fake")).open().image_size == (32, 32)
    (said,) = [message for message in caplog.messages if "sees images" in message]
    assert said.startswith("pnasnet_tiny sees images of 32x32 pixels and knows 10 classes (")
    assert said.endswith("): use pnasnet_small or a larger network for photos")


def test_64_pixels_are_enough(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "pnasnet"):
        module = ModelChoice("pnasnet_small", engine=EngineOptions("fake")).open()
    assert max(module.image_size) == 64
    assert not [message for message in caplog.messages if "sees images" in message]

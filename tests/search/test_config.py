"""Configurations: those that come with the package, TOML files, and everything that is refused in them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pnasnet.architecture.cells import PNAS_OPERATIONS, PNASNET5
from pnasnet.architecture.plan import resolve
from pnasnet.errors import InputError, PnasnetError, UnknownNameError
from pnasnet.search.config import ChildSettings, Scale, SearchConfig, Strategy
from pnasnet.search.config_file import CONFIGS, config_from_dict, find_config, parse_config
from pnasnet.search.space import SearchSpace

from tests.helpers.search_data import CONFIG


def test_the_papers_configuration() -> None:
    config = find_config("paper")
    assert set(config.space.operations) == set(PNAS_OPERATIONS)
    assert config.levels == [136, 256, 256, 256, 256]
    assert config.models == 1160
    recipe = config.child.recipe(PNASNET5, 10)
    assert (recipe.spec.num_cells, recipe.spec.filters, recipe.sizes) == (6, 24, [32] * 20)
    assert recipe.schedule.peak == 0.01  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_configurations_in_the_package(name: str) -> None:
    config = find_config(name)
    for word in ("Command:  pnasnet search run", "Hardware:", "Result:"):
        assert word in config.notes
    assert resolve(config.child.recipe(PNASNET5, 10).spec).parameters > 0
    assert config_from_dict(config.to_dict(), name) == replace(config, notes="")


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[space]\noperations = ["sep3", "max3"]\nblocks = 2\n[child]\nlearning_rate = 1\n[search]\nbeam = 7'
    )
    config = find_config(str(path))
    assert config.space == SearchSpace(("max3", "sep3"), 2)
    assert config.child == ChildSettings(learning_rate=1.0)
    assert config.levels == [10, 7]
    assert config.network == SearchConfig().network


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[space", "is not TOML"),
        ("[spice]", "unknown section 'spice': did you mean space"),
        ("space = 3", "[space] must be a section"),
        ("[child]\nepoch = 3", "unknown setting '[child] epoch': did you mean [child] epochs"),
        ("[child]\nepochs = '3'", "[child] epochs must be a whole number, not '3'"),
        ("[child]\nepochs = true", "[child] epochs must be a whole number, not True"),
        ("[child]\nepochs = 0", "[child] epochs must be at least 1, not 0"),
        ("[child]\nlearning_rate = 'x'", "[child] learning_rate must be a number, not 'x'"),
        ("[child]\nlearning_rate = nan", "[child] learning_rate must be from 0 to below inf, not nan"),
        ("[child]\nweight_decay = -1", "[child] weight_decay must be from 0 to below inf, not -1.0"),
        ("[child]\nlabel_smoothing = 2", "[child] label_smoothing must be from 0 to below 1, not 2.0"),
        ("[child]\nvalidation_images = 0", "[child] validation_images must be at least 1, not 0"),
        ("[child]\nvalidate_every = 0", "[child] validate_every must be at least 1, not 0"),
        ("[child]\nseed = -1", "[child] seed must be at least 0, not -1"),
        ("[network]\nfilters = -3", "[network] filters must be at least 1, not -3"),
        ("[network]\nnum_cells = 1", "[network] 1 cells cannot reduce 2 times"),
        ("[child]\nimages = 5", "[child] 5 images do not fill a batch of 32"),
        ("[child]\nnum_cells = 1", "1 cells cannot reduce 2 times"),
        ("[space]\noperations = 'pnass'", "unknown set of operations 'pnass': did you mean pnas"),
        ("[space]\noperations = ['sep9']", "unknown operation 'sep9'"),
        ("[space]\noperations = [3]", "[space] operations must be a string, not 3"),
        ("[space]\nblocks = 0", "blocks must be from 1 to 10, not 0"),
        ("[search]\nalgorithms = ['progresive']", "unknown algorithm 'progresive': did you mean progressive"),
        ("[search]\nalgorithms = []", "[search] algorithms must be a list of different values"),
        ("[search]\nalgorithms = 'random'", "[search] algorithms must be a list, not 'random'"),
        ("[search]\nseeds = [1, 1]", "[search] seeds must be a list of different values"),
        ("[search]\nseeds = [-1]", "[search] seeds must be at least 0, not -1"),
        ("[search]\npredictor = 'lstmm'", "unknown predictor 'lstmm'"),
        ("[search]\nmodels = 0", "[search] a budget of 0 models trains nothing: use more"),
        ("[search]\nhours = 0.0", "[search] a budget of 0.0 hours trains nothing"),
        ("[search]\nhours = nan", "[search] a budget of nan hours trains nothing"),
        ("[search]\nbeam = 0", "[search] beam must be at least 1, not 0"),
        ("[search]\nsample = 200", "[search] sample must be at most 100, not 200"),
        ("[search]\npopulation = 8\nsample = 2", "[search] ahead 8 must be less than population 8"),
        (
            "[space]\noperations = ['sep3']\nblocks = 2\n[search]\nbeam = 20",
            "[search] beam 20 is larger than the space, which has 15 cells of 2 blocks",
        ),
        ("notes = 3", "notes must be a string, not 3"),
        # Absurd values: an answer at once, and before any memory is taken.
        ("[child]\nnum_cells = 100000000", "[child] num_cells must be from 1 to 1,000"),
        ("[child]\nfilters = 1000000000", "[child] filters must be from 1 to 100,000"),
        ("[child]\nimage_size = 1000000000", "[child] image_size must be from 1 to 65,536"),
        ("[child]\nstem_multiplier = 1e300", "[child] stem_multiplier must be from"),
        ("[child]\nepochs = 1000000000", "[child] epochs must be at most 100,000, not 1,000,000,000"),
        ("[child]\nreductions = 100000000\nnum_cells = 100000000", "[child] "),
        (f"[child]\nseed = {10**30}", "[child] seed is too large: use at most 9,007,199,254,740,992"),
        (f"[child]\nlearning_rate = {10**400}", "[child] learning_rate is too large"),
        (f"[search]\npopulation = {10**30}", "[search] population is too large"),
        (f"[search]\nseeds = [{10**30}]", "[search] seeds is too large"),
        ("[network]\nnum_cells = 100000000", "[network] num_cells must be from 1 to 1,000"),
        ("[network]\nfilters = 1000000000", "[network] filters must be from 1 to 100,000"),
        ("[space]\nblocks = 1000000000", "blocks must be from 1 to 10, not 1000000000"),
    ],
)
def test_invalid_configurations_are_one_line(text: str, message: str) -> None:
    with pytest.raises(PnasnetError) as caught:
        parse_config(text, "mine.toml")
    assert str(caught.value).startswith("mine.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown configuration 'papr': did you mean paper"):
        find_config("papr")
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not a text file"):
        find_config(str(tmp_path / "a.toml"))


def test_budgets_default_to_what_progressive_search_trains() -> None:
    assert replace(CONFIG, search=replace(CONFIG.search, models=None)).models == 36 + 8 + 8
    assert CONFIG.models == 40


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ChildSettings, {"epochs": "20"}), (ChildSettings, {"epochs": 1.5}), (Strategy, {"models": "3"}),
        (Strategy, {"seeds": "0"}), (Scale, {"filters": "9"}), (SearchSpace, {"blocks": 2.5}),
    ],
)  # fmt: skip
def test_values_of_another_type(kind: Any, values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(InputError, match=f"^{name} must be a"):
        kind(**values)


def test_lists_become_tuples() -> None:
    assert Strategy(seeds=[0, 1]) == Strategy(seeds=(0, 1))  # type: ignore[arg-type] # as users may pass them

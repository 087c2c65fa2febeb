"""Predictors: their networks, what they learn, and rank correlations."""

import math
import sys

import numpy as np
import pytest
import torch

from pnasnet.errors import MissingExtraError, UnknownNameError
from pnasnet.search.baselines import counts
from pnasnet.search.neural import Fitting, Lstm, Mlp, Neural, _batches, _shares
from pnasnet.search.observed import Observed
from pnasnet.search.predictors import PAPERS_RANKS, make_predictor, rank_correlation
from pnasnet.search.space import SearchSpace

from tests.helpers.search_data import SPACE, accuracies, observed


def cells(count: int, blocks: int, seed: int = 0) -> Observed:
    rows = SPACE.sample(count, np.random.default_rng(seed))[:, :blocks]
    return observed(SPACE, rows)


@pytest.mark.parametrize(
    "name", ["lstm", pytest.param("lstm-ensemble", marks=pytest.mark.slow), "mlp", "mlp-ensemble", "linear"]
)
def test_ranks_cells_it_was_fitted_to_and_larger_ones(name: str) -> None:
    predictor = make_predictor(name, SPACE, 0)
    known = [observed(SPACE, SPACE.one_block()), cells(40, 2)]
    predictor.fit(known)
    for each, least in ((known[0], 0.9), (known[1], 0.8), (cells(60, 3, 1), 0.5)):
        scores = predictor.predict(each.tokens)
        assert scores.dtype == np.float32
        assert rank_correlation(scores, each.accuracies) > least


def test_the_papers_correlations() -> None:
    """Liu et al., 2018, table 1: MLP, RNN, and the ensembles of both; fitted and next for one to four blocks."""
    table = """
        0.938 0.113 0.857 0.450 0.714 0.469 0.641 0.444
        0.970 0.198 0.996 0.424 0.693 0.401 0.787 0.413
        0.975 0.164 0.786 0.532 0.634 0.504 0.645 0.468
        0.972 0.164 0.906 0.418 0.801 0.465 0.579 0.424
    """
    rows = [" ".join(f"{value:.3f}" for pair in ranks for value in pair) for ranks in PAPERS_RANKS.values()]
    assert rows == [line.strip() for line in table.strip().splitlines()]
    assert list(PAPERS_RANKS) == ["mlp", "lstm", "mlp-ensemble", "lstm-ensemble"]


def test_the_random_predictor_depends_on_its_seed_alone() -> None:
    known = cells(200, 3)
    scores = [make_predictor("random", SPACE, seed).predict(known.tokens) for seed in (1, 1, 2)]
    assert (scores[0] == scores[1]).all()
    assert (scores[0] != scores[2]).any()
    assert abs(rank_correlation(scores[0], known.accuracies)) < 0.3


@pytest.mark.parametrize("network", [Lstm, Mlp])
def test_scores_are_those_of_the_plain_forward_pass(network: type[Lstm] | type[Mlp]) -> None:
    """The tree of prefixes and the tables must not change predictions."""
    model = network(3, SPACE, 0.7, torch.Generator().manual_seed(0))
    rows = SPACE.expand(SPACE.expand(SPACE.one_block()[:3])[:5])
    tokens = SPACE.tokens(np.concatenate([rows, rows[:2]]))
    ids = torch.from_numpy(model.ids(tokens)).expand(3, -1, -1, -1)
    with torch.no_grad():
        expected = model(ids).mean(0).numpy()
    np.testing.assert_allclose(model.scores(tokens), expected, atol=2e-6)
    assert len(set(expected.tolist())) > 50


def test_the_lstm_computes_what_torchs_does() -> None:
    model = Lstm(1, SPACE, 0.5, torch.Generator().manual_seed(0))
    plain = torch.nn.LSTM(100, 100)
    its = dict(plain.named_parameters())
    order = [0, 1, 3, 2]  # torch has the cell's gate before the output's
    with torch.no_grad():
        for own, name in ((model.to_gates, "weight_ih_l0"), (model.recurrent, "weight_hh_l0")):
            its[name].copy_(torch.cat([own[0].chunk(4, 1)[i] for i in order], 1).T)
        its["bias_ih_l0"].copy_(torch.cat([model.bias[0, 0].chunk(4)[i] for i in order]))
        its["bias_hh_l0"].zero_()
        ids = torch.from_numpy(model.ids(cells(7, 3).tokens))
        state, _ = plain(model.embeddings[0][ids.flatten(1)].transpose(0, 1))
        torch.testing.assert_close(model.hidden(ids[None])[0], state[-1])


@pytest.mark.parametrize("network", [Lstm, Mlp])
def test_first_predictions_are_the_mean_accuracy(network: type[Lstm] | type[Mlp]) -> None:
    model = network(2, SPACE, 0.86, torch.Generator().manual_seed(0))
    assert model.output_bias.tolist() == [[pytest.approx(math.log(0.86 / 0.14))]] * 2  # 1.8, as in the paper
    assert model.scores(cells(5, 2).tokens) == pytest.approx([0.86] * 5, abs=0.02)


@pytest.mark.parametrize("network", [Lstm, Mlp])
def test_embeddings_of_100_within_a_tenth_one_table_for_inputs_and_one_for_operations(
    network: type[Lstm] | type[Mlp],
) -> None:
    model = network(5, SPACE, 0.5, torch.Generator().manual_seed(0))
    assert model.embeddings.shape == (5, SPACE.num_states + len(SPACE.operations), 100)
    assert 0.0999 < model.embeddings.abs().max() <= 0.1
    assert model.embeddings.mean().abs() < 0.003  # of a uniform distribution
    ids = model.ids(np.array([[[0, 1, 0, 1], [2, 0, 3, 0]]], np.uint8))
    first = SPACE.num_states  # left and right share a row, an input and an operation never do
    assert ids.tolist() == [[[0, 1, first, first + 1], [2, 0, first + 3, first]]]


def test_the_mlp_is_the_papers() -> None:
    """Blocks concatenate four embeddings of 100, blocks are averaged, and two hidden layers of 100 follow."""
    model, tokens = Mlp(2, SPACE, 0.7, torch.Generator().manual_seed(0)), cells(20, 3).tokens
    inputs, operations = model.embeddings[:, : SPACE.num_states], model.embeddings[:, SPACE.num_states :]
    left, right, left_operation, right_operation = torch.from_numpy(tokens.astype(np.int64)).unbind(2)
    expected = []
    with torch.no_grad():
        for member in range(2):
            blocks = torch.cat(
                [
                    inputs[member][left],
                    inputs[member][right],
                    operations[member][left_operation],
                    operations[member][right_operation],
                ],
                2,
            )
            assert blocks.shape == (20, 3, 400)
            first = torch.relu(blocks.mean(1) @ model.first[member].reshape(400, 100) + model.first_bias[member])
            second = torch.relu(first @ model.second[member] + model.second_bias[member])
            expected.append(torch.sigmoid(second @ model.output[member] + model.output_bias[member])[:, 0])
    np.testing.assert_allclose(model.scores(tokens), torch.stack(expected).mean(0).numpy(), atol=2e-6)
    shapes = {name: tuple(value.shape[1:]) for name, value in model.named_parameters()}
    assert shapes == {
        "embeddings": (8, 100),
        "first": (4, 100, 100), "first_bias": (1, 100), "second": (100, 100), "second_bias": (1, 100),
        "output": (100, 1), "output_bias": (1,),
    }  # fmt: skip


def test_each_member_is_fitted_to_four_fifths_of_the_cells() -> None:
    generator = torch.Generator().manual_seed(0)
    shares = _shares([20, 3, 11], 5, generator)
    for count, members in ((20, shares[0]), (11, shares[2])):
        left_out = [set(range(count)) - set(own.tolist()) for own in members]
        assert sorted(index for out in left_out for index in out) == list(range(count))
    assert [own.tolist() for own in shares[1]] == [[0, 1, 2]] * 5  # too few to leave one out
    assert [own.tolist() for own in _shares([4], 1, generator)[0]] == [[0, 1, 2, 3]]
    seen = [torch.zeros(count) for count in (20, 3, 11)]
    for level, indices, weights in _batches(shares, 64, generator):
        for own, weight in zip(indices, weights, strict=True):
            seen[level].index_add_(0, own, weight)
    assert [each.tolist() for each in seen] == [[4] * 20, [5] * 3, [4] * 11]


def test_a_fit_depends_on_its_seed_and_not_on_earlier_fits() -> None:
    known, others = [cells(12, 1)], [cells(12, 2)]
    predictors = [Neural(Lstm, SPACE, 1, seed, Fitting(epochs=2, least_steps=4)) for seed in (0, 0, 1)]
    predictors[1].fit(others)
    for predictor in predictors:
        predictor.fit(known)
    scores = [predictor.predict(others[0].tokens) for predictor in predictors]
    assert (scores[0] == scores[1]).all()
    assert (scores[0] != scores[2]).any()


def test_unknown_predictor() -> None:
    with pytest.raises(UnknownNameError, match="unknown predictor 'lstmm': did you mean lstm"):
        make_predictor("lstmm", SPACE, 0)


def test_without_the_search_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(MissingExtraError, match=r"needs scikit-learn, which is not installed: .*pnasnet\[search\]"):
        make_predictor("linear", SPACE, 0)
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingExtraError, match=r"needs scipy, which is not installed: .*pnasnet\[search\]"):
        rank_correlation([1, 2], [2, 1])


def test_counts() -> None:
    space = SearchSpace(("max3", "sep3"), 3)
    tokens = np.array([[[0, 1, 0, 1], [2, 2, 1, 1], [0, 0, 0, 0]]], np.uint8)
    # operations, reads of the current and the previous input and of blocks, concatenated states, longest path
    assert counts(tokens, space).tolist() == [[3, 3, 3, 1, 2, 2, 2]]


def test_rank_correlation() -> None:
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)
    assert rank_correlation([1, 2, 2, 3], [1, 2, 2, 3]) == pytest.approx(1)
    assert math.isnan(rank_correlation([1, 1], [1, 2]))
    assert math.isnan(rank_correlation([1, 2], [1, 1]))
    assert rank_correlation([1, 2], [2, 1]) == pytest.approx(-1)
    assert math.isnan(rank_correlation([1], [2]))


def test_made_up_accuracies_vary() -> None:
    assert np.ptp(accuracies(SPACE, SPACE.one_block())) > 0.1

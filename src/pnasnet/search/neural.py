"""The paper's predictors in torch: an LSTM over a cell's tokens, an MLP over its averaged blocks, and their ensembles.

The members of an ensemble are one model with an additional axis, and are fitted at the same time.

From Liu et al., 2018, sections 4.2 and 5.1: embeddings of 100 drawn from [-0.1, 0.1], one table for the inputs of a
block and another for its operations; hidden layers of 100; a sigmoid at the end, with a bias that makes the first
predictions the mean accuracy (1.8, for the paper's 0.86); L1 loss; Adam at 0.01 while all cells have one block, then at
0.002; each member fitted from scratch to 4/5 of the data. `Fitting` has what the paper does not specify.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from .observed import Floats, Observed
from .space import SearchSpace, Tokens

EMBEDDING = HIDDEN = 100
FIRST_RATE, LATER_RATE = 0.01, 0.002
_EMBEDDING_BOUND = 0.1
_CHUNK = 8192
"""Cells scored at a time."""


@dataclass(frozen=True)
class Fitting:
    """Settings that the paper does not specify. `docs/search/fitting.py` compares choices on the journal beside it.

    Attributes:
        weights: distribution of the first weights of all layers after the embeddings: `uniform` in [-0.1, 0.1], or
            `fan-in`, uniform within ±1/sqrt(inputs), as in `torch.nn.Linear` and `torch.nn.LSTM`.
        batch: number of cells in a step, all with equal numbers of blocks.
        epochs: number of passes over the cells.
        least_steps: least number of steps; if the epochs have fewer, there are more epochs.
    """

    weights: str = "uniform"
    batch: int = 64
    epochs: int = 50
    least_steps: int = 400


FITTING = Fitting()


class _Members(nn.Module):
    """The common part of both networks: the embeddings of all members, and a sigmoid at the end."""

    def __init__(
        self, members: int, space: SearchSpace, mean: float, generator: torch.Generator, weights: str = FITTING.weights
    ) -> None:
        super().__init__()
        self.members, self.states = members, space.num_states
        self.vocabulary = space.num_states + len(space.operations)
        self._generator, self._weights = generator, weights
        # One array with both tables: first the rows of inputs, then those of operations.
        self.embeddings = self._uniform(_EMBEDDING_BOUND, self.vocabulary, EMBEDDING)
        self.output = self.layer(HIDDEN, HIDDEN, 1)
        self.output_bias = nn.Parameter(torch.full((members, 1), float(torch.logit(torch.tensor(mean), eps=0.01))))
        self.create_layers()

    def create_layers(self) -> None:
        """Create the layers between embeddings and output."""
        raise NotImplementedError

    def layer(self, inputs: int, *shape: int) -> nn.Parameter:
        """Return the first weights of a layer with `inputs` inputs, [members, *shape]."""
        return self._uniform(_EMBEDDING_BOUND if self._weights == "uniform" else inputs**-0.5, *shape)

    def _uniform(self, bound: float, *shape: int) -> nn.Parameter:
        return nn.Parameter((torch.rand((self.members, *shape), generator=self._generator) * 2 - 1) * bound)

    def ids(self, tokens: Tokens) -> NDArray[np.int64]:
        """Return the rows of the embeddings, int64 [..., 4], for tokens [..., 4]."""
        return np.asarray(tokens.astype(np.int64) + np.array([0, 0, self.states, self.states]))

    def forward(self, ids: Tensor) -> Tensor:
        """Return each member's predictions, [members, N], for cells of its own, ids [members, N, blocks, 4]."""
        return torch.sigmoid((self.hidden(ids) @ self.output).squeeze(2) + self.output_bias)

    def hidden(self, ids: Tensor) -> Tensor:
        """Return the input of the output layer, [members, N, HIDDEN]."""
        raise NotImplementedError

    def scores(self, tokens: Tokens) -> Floats:
        """Return the members' mean predictions for cells [N, blocks, 4], float32 [N]."""
        raise NotImplementedError

    def output_of(self, member: int, hidden: Tensor) -> Tensor:
        """Return one member's predictions, [N], from its hidden layer, [N, HIDDEN]."""
        return torch.sigmoid(hidden @ self.output[member] + self.output_bias[member]).squeeze(1)


class Lstm(_Members):
    """Reads left input, right input, left operation, right operation of each block; predicts from its last state."""

    def create_layers(self) -> None:
        """Create the weights of an LSTM."""
        self.to_gates = self.layer(HIDDEN, EMBEDDING, 4 * HIDDEN)
        self.recurrent = self.layer(HIDDEN, HIDDEN, 4 * HIDDEN)
        self.bias = self.layer(HIDDEN, 1, 4 * HIDDEN)

    def hidden(self, ids: Tensor) -> Tensor:
        """Return the state after the last token, [members, N, HIDDEN]."""
        gates, member = self._gates(), torch.arange(self.members)[:, None]
        state = memory = torch.zeros(*ids.shape[:2], HIDDEN)
        for token in ids.flatten(2).unbind(2):
            state, memory = _step(gates[member, token] + state @ self.recurrent, memory)
        return state

    def _gates(self) -> Tensor:
        """Return the contribution of each token to the gates, [members, vocabulary, 4 * HIDDEN]."""
        return self.embeddings @ self.to_gates + self.bias

    @torch.no_grad()
    def scores(self, tokens: Tokens) -> Floats:
        """Return the members' mean predictions, [N]. Common prefixes, as of a cell's expansions, are computed once."""
        nodes, node = _prefixes(self.ids(tokens).reshape(len(tokens), -1), self.vocabulary)
        gates = self._gates()
        sums = torch.zeros(len(nodes[-1][0]))
        for member in range(self.members):
            state = memory = torch.zeros(1, HIDDEN)
            for parent, token in nodes[:-1]:
                own = gates[member, token] + state[parent] @ self.recurrent[member]
                state, memory = _step(own, memory[parent])
            for place in range(0, len(sums), _CHUNK):
                part = slice(place, place + _CHUNK)
                parent, token = (each[part] for each in nodes[-1])
                last, _ = _step(gates[member, token] + state[parent] @ self.recurrent[member], memory[parent])
                sums[part] += self.output_of(member, last)
        return np.asarray((sums / self.members).numpy()[node])


def _step(gates: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next state and memory of an LSTM."""
    enter, forget, leave = torch.sigmoid(gates[..., : 3 * HIDDEN]).chunk(3, -1)
    memory = forget * memory + enter * torch.tanh(gates[..., 3 * HIDDEN :])
    return leave * torch.tanh(memory), memory


def _prefixes(ids: NDArray[np.int64], vocabulary: int) -> tuple[list[tuple[Tensor, Tensor]], NDArray[np.intp]]:
    """Return the tree of prefixes of sequences [N, T]: parents and tokens of the nodes at each place; rows' leaves."""
    node, levels = np.zeros(len(ids), np.int64), []
    for place in range(ids.shape[1]):
        keys, node = np.unique(node * vocabulary + ids[:, place], return_inverse=True)
        parent, token = np.divmod(keys, vocabulary)
        levels.append((torch.from_numpy(parent), torch.from_numpy(token)))
    return levels, node


class Mlp(_Members):
    """Concatenates the embeddings of each block, averages over blocks, and applies two hidden layers with ReLU."""

    def create_layers(self) -> None:
        """Create two hidden layers."""
        self.first = self.layer(4 * EMBEDDING, 4, EMBEDDING, HIDDEN)
        self.first_bias = self.layer(4 * EMBEDDING, 1, HIDDEN)
        self.second = self.layer(HIDDEN, HIDDEN, HIDDEN)
        self.second_bias = self.layer(HIDDEN, 1, HIDDEN)

    def hidden(self, ids: Tensor) -> Tensor:
        """Return the second hidden layer, [members, N, HIDDEN]. Averaging follows the linear first layer."""
        table, member = self._table(), torch.arange(self.members)[:, None, None, None]
        mean = table[member, torch.arange(4), ids].sum(3).mean(2)
        return functional.relu(functional.relu(mean + self.first_bias) @ self.second + self.second_bias)

    def _table(self) -> Tensor:
        """Return the first layer for each token at each of the four places, [members, 4, vocabulary, HIDDEN]."""
        return self.embeddings[:, None] @ self.first

    @torch.no_grad()
    def scores(self, tokens: Tokens) -> Floats:
        """Return the members' mean predictions, [N]."""
        table = self._table().flatten(1, 2)
        ids = torch.from_numpy(self.ids(tokens) + np.arange(4) * self.vocabulary).flatten(1)
        sums = torch.zeros(len(tokens))
        for place in range(0, len(sums), _CHUNK):
            part = slice(place, place + _CHUNK)
            for member in range(self.members):
                mean = functional.embedding_bag(ids[part], table[member], mode="sum") / tokens.shape[1]
                first = functional.relu(mean + self.first_bias[member])
                second = functional.relu(first @ self.second[member] + self.second_bias[member])
                sums[part] += self.output_of(member, second)
        return np.asarray((sums / self.members).numpy())


class Neural:
    """One of the two networks as a predictor, alone or as an ensemble."""

    def __init__(
        self,
        network: type[Lstm] | type[Mlp],
        space: SearchSpace,
        members: int,
        seed: int,
        fitting: Fitting = FITTING,
    ) -> None:
        self._network, self._space, self._members, self._seed = network, space, members, seed
        self._fitting = fitting
        self._fitted: Lstm | Mlp | None = None

    def fit(self, observed: Sequence[Observed]) -> None:
        """Fit from scratch to cells of one or several numbers of blocks."""
        generator = torch.Generator().manual_seed(self._seed)
        mean = float(np.concatenate([each.accuracies for each in observed]).mean())
        network = self._network(self._members, self._space, mean, generator, self._fitting.weights)
        rate = FIRST_RATE if all(each.tokens.shape[1] == 1 for each in observed) else LATER_RATE
        optimizer = torch.optim.Adam(network.parameters(), rate)
        ids = [torch.from_numpy(network.ids(each.tokens)) for each in observed]
        targets = [torch.from_numpy(each.accuracies) for each in observed]
        shares = _shares([len(each) for each in targets], self._members, generator)
        for _ in range(self._epochs(shares)):
            for level, indices, weights in _batches(shares, self._fitting.batch, generator):
                errors = (network(ids[level][indices]) - targets[level][indices]).abs() * weights
                # Members share no weights, so the sum gives each the gradient of its own mean error.
                loss = (errors.sum(1) / weights.sum(1).clamp(min=1)).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        self._fitted = network

    def _epochs(self, shares: "Shares") -> int:
        steps = sum(-(-max(map(len, level)) // self._fitting.batch) for level in shares)
        return max(self._fitting.epochs, -(-self._fitting.least_steps // steps))

    def predict(self, tokens: Tokens) -> Floats:
        """Return the members' mean predictions for cells [N, blocks, 4], float32 [N]. Call `fit` first."""
        assert self._fitted is not None, "call fit first"
        return self._fitted.scores(tokens)


Shares = list[list[Tensor]]
"""For each number of blocks and each member, the indices of the cells to which the member is fitted."""


def _shares(counts: Sequence[int], members: int, generator: torch.Generator) -> Shares:
    """Divide the cells into one part per member. A member gets all parts but its own; a single one gets all cells."""
    shares = []
    for count in counts:
        part = torch.randperm(count, generator=generator) % members
        whole = members == 1 or count < members
        shares.append([torch.arange(count) if whole else (part != member).nonzero()[:, 0] for member in range(members)])
    return shares


def _batches(shares: Shares, size: int, generator: torch.Generator) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield an epoch's batches in random order: level, indices [members, n], weights (0 for padding)."""
    batches = []
    for level, members in enumerate(shares):
        longest = max(map(len, members))
        indices = torch.zeros((len(members), longest), dtype=torch.int64)
        weights = torch.zeros((len(members), longest))
        for member, own in enumerate(members):
            indices[member, : len(own)] = own[torch.randperm(len(own), generator=generator)]
            weights[member, : len(own)] = 1
        batches += [
            (level, indices[:, place : place + size], weights[:, place : place + size])
            for place in range(0, longest, size)
        ]
    for index in torch.randperm(len(batches), generator=generator):
        yield batches[int(index)]

"""The paper's predictors in torch: an LSTM over a cell's tokens, an MLP over its averaged blocks; alone or as five.

The members of an ensemble are one model with one more axis, so that they are fitted at the same time.

As reported of Liu et al., 2018 (its text was not at hand to check): embeddings and hidden layers of 100, L1 loss, Adam
at 0.01 where all cells have one block and 0.002 later, first weights from [-0.1, 0.1], an output bias that gives the
mean accuracy (1.8, where that is 0.86), and each member fitted from scratch to 4/5 of the data. Chosen here: batches of
up to 64 cells of one number of blocks, and how many epochs.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from .observed import Floats, Observed
from .space import SearchSpace, Tokens

EMBEDDING = HIDDEN = 100
FIRST_RATE, LATER_RATE = 0.01, 0.002
_BATCH = 64
_EPOCHS, _LEAST_STEPS = 50, 400
"""So many epochs, or more where the cells are few and an epoch has but a step or two."""
_CHUNK = 8192
"""Cells that are scored at a time."""


class _Members(nn.Module):
    """What both networks have: members side by side, one table of embeddings each, a sigmoid at the end."""

    def __init__(self, members: int, space: SearchSpace, mean: float, generator: torch.Generator) -> None:
        super().__init__()
        self.members, self.states = members, space.num_states
        self.vocabulary = space.num_states + len(space.operations)
        self._generator = generator
        self.embeddings = self.uniform(self.vocabulary, EMBEDDING)
        self.output = self.uniform(HIDDEN, 1)
        self.output_bias = nn.Parameter(torch.full((members, 1), float(torch.logit(torch.tensor(mean), eps=0.01))))

    def uniform(self, *shape: int) -> nn.Parameter:
        """Return weights of every member, from [-0.1, 0.1]."""
        return nn.Parameter(torch.rand((self.members, *shape), generator=self._generator) * 0.2 - 0.1)

    def ids(self, tokens: Tokens) -> NDArray[np.int64]:
        """Return rows of the table for tokens [..., 4]: the states' come first, then the operations'."""
        return np.asarray(tokens.astype(np.int64) + np.array([0, 0, self.states, self.states]))

    def forward(self, ids: Tensor) -> Tensor:
        """Return each member's prediction, [members, N], for its own cells, [members, N, blocks, 4]."""
        return torch.sigmoid((self.hidden(ids) @ self.output).squeeze(2) + self.output_bias)

    def hidden(self, ids: Tensor) -> Tensor:
        """Return what the output layer reads, [members, N, HIDDEN]."""
        raise NotImplementedError

    def scores(self, tokens: Tokens) -> Floats:
        """Return the members' mean prediction for the same cells, [N]."""
        raise NotImplementedError

    def output_of(self, member: int, hidden: Tensor) -> Tensor:
        """Return one member's prediction, [N], from [N, HIDDEN]."""
        return torch.sigmoid(hidden @ self.output[member] + self.output_bias[member]).squeeze(1)


class Lstm(_Members):
    """Reads left input, right input, left operation, right operation of each block; predicts from its last state."""

    def __init__(self, members: int, space: SearchSpace, mean: float, generator: torch.Generator) -> None:
        """Draw the first weights."""
        super().__init__(members, space, mean, generator)
        self.to_gates = self.uniform(EMBEDDING, 4 * HIDDEN)
        self.recurrent = self.uniform(HIDDEN, 4 * HIDDEN)
        self.bias = self.uniform(1, 4 * HIDDEN)

    def hidden(self, ids: Tensor) -> Tensor:
        """Run over the tokens."""
        gates, member = self._gates(), torch.arange(self.members)[:, None]
        state = memory = torch.zeros(*ids.shape[:2], HIDDEN)
        for token in ids.flatten(2).unbind(2):
            state, memory = _step(gates[member, token] + state @ self.recurrent, memory)
        return state

    def _gates(self) -> Tensor:
        """Return what each token adds to the gates, [members, vocabulary, 4 * HIDDEN]: the same at every place."""
        return self.embeddings @ self.to_gates + self.bias

    @torch.no_grad()
    def scores(self, tokens: Tokens) -> Floats:
        """Return the mean prediction. What begins alike is computed once: a cell and all that it is expanded to."""
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
    """Return the tree of what sequences [N, T] begin with: each place's nodes as (parent, token), each row's leaf."""
    node, levels = np.zeros(len(ids), np.int64), []
    for place in range(ids.shape[1]):
        keys, node = np.unique(node * vocabulary + ids[:, place], return_inverse=True)
        parent, token = np.divmod(keys, vocabulary)
        levels.append((torch.from_numpy(parent), torch.from_numpy(token)))
    return levels, node


class Mlp(_Members):
    """The four embeddings of a block side by side, averaged over the blocks; a layer of 100 with ReLU; the output."""

    def __init__(self, members: int, space: SearchSpace, mean: float, generator: torch.Generator) -> None:
        """Draw the first weights."""
        super().__init__(members, space, mean, generator)
        self.first = self.uniform(4, EMBEDDING, HIDDEN)
        self.first_bias = self.uniform(1, HIDDEN)

    def hidden(self, ids: Tensor) -> Tensor:
        """Average and run the first layer; it is linear, so that it may come before the mean."""
        table, member = self._table(), torch.arange(self.members)[:, None, None, None]
        mean = table[member, torch.arange(4), ids].sum(3).mean(2)
        return functional.relu(mean + self.first_bias)

    def _table(self) -> Tensor:
        """Return what each token at each of the four places adds, [members, 4, vocabulary, HIDDEN]."""
        return self.embeddings[:, None] @ self.first

    @torch.no_grad()
    def scores(self, tokens: Tokens) -> Floats:
        """Return the mean prediction."""
        table = self._table().flatten(1, 2)
        ids = torch.from_numpy(self.ids(tokens) + np.arange(4) * self.vocabulary).flatten(1)
        sums = torch.zeros(len(tokens))
        for place in range(0, len(sums), _CHUNK):
            part = slice(place, place + _CHUNK)
            for member in range(self.members):
                mean = functional.embedding_bag(ids[part], table[member], mode="sum") / tokens.shape[1]
                sums[part] += self.output_of(member, functional.relu(mean + self.first_bias[member]))
        return np.asarray((sums / self.members).numpy())


class Neural:
    """One of the two networks as a predictor, alone or as an ensemble."""

    def __init__(self, network: type[Lstm] | type[Mlp], space: SearchSpace, members: int, seed: int) -> None:
        """Take what it is made of."""
        self._network, self._space, self._members, self._seed = network, space, members, seed
        self._fitted: Lstm | Mlp | None = None

    def fit(self, observed: Sequence[Observed]) -> None:
        """Fit from scratch."""
        generator = torch.Generator().manual_seed(self._seed)
        mean = float(np.concatenate([each.accuracies for each in observed]).mean())
        network = self._network(self._members, self._space, mean, generator)
        rate = FIRST_RATE if all(each.tokens.shape[1] == 1 for each in observed) else LATER_RATE
        optimizer = torch.optim.Adam(network.parameters(), rate)
        ids = [torch.from_numpy(network.ids(each.tokens)) for each in observed]
        targets = [torch.from_numpy(each.accuracies) for each in observed]
        shares = _shares([len(each) for each in targets], self._members, generator)
        for _ in range(_epochs(shares)):
            for level, indices, weights in _batches(shares, generator):
                errors = (network(ids[level][indices]) - targets[level][indices]).abs() * weights
                # Summed over the members, which have nothing in common: each has the gradient of its own mean.
                loss = (errors.sum(1) / weights.sum(1).clamp(min=1)).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        self._fitted = network

    def predict(self, tokens: Tokens) -> Floats:
        """Return the mean prediction of the members."""
        assert self._fitted is not None, "fit it first"
        return self._fitted.scores(tokens)


Shares = list[list[Tensor]]
"""For each number of blocks and each member, the indices of the cells that the member is fitted to."""


def _shares(counts: Sequence[int], members: int, generator: torch.Generator) -> Shares:
    """Deal the cells out into as many parts as members; each member gets all but one part, a lone one gets all."""
    shares = []
    for count in counts:
        part = torch.randperm(count, generator=generator) % members
        whole = members == 1 or count < members
        shares.append([torch.arange(count) if whole else (part != member).nonzero()[:, 0] for member in range(members)])
    return shares


def _epochs(shares: Shares) -> int:
    steps = sum(-(-max(map(len, level)) // _BATCH) for level in shares)
    return max(_EPOCHS, -(-_LEAST_STEPS // steps))


def _batches(shares: Shares, generator: torch.Generator) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield an epoch in random order: which of `shares`, indices [members, n], weights (0 where a member has fewer)."""
    batches = []
    for level, members in enumerate(shares):
        longest = max(map(len, members))
        indices = torch.zeros((len(members), longest), dtype=torch.int64)
        weights = torch.zeros((len(members), longest))
        for member, own in enumerate(members):
            indices[member, : len(own)] = own[torch.randperm(len(own), generator=generator)]
            weights[member, : len(own)] = 1
        batches += [
            (level, indices[:, place : place + _BATCH], weights[:, place : place + _BATCH])
            for place in range(0, longest, _BATCH)
        ]
    for index in torch.randperm(len(batches), generator=generator):
        yield batches[int(index)]

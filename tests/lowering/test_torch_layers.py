"""The layers of torch that are our own."""

import pytest
import torch

from pnasnet.lowering.torch_layers import _EveryOther


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7), (1, 2)])
def test_every_other_pixel_is_picked_and_its_gradient_put_back(
    memory_format: torch.memory_format, height: int, width: int
) -> None:
    maps = torch.randn(2, 3, height, width, dtype=torch.float64).contiguous(memory_format=memory_format)
    even, odd = _EveryOther.apply(maps)  # type: ignore[no-untyped-call]
    assert torch.equal(even, maps[:, :, ::2, ::2])
    assert torch.equal(odd, maps[:, :, 1::2, 1::2])
    assert even.is_contiguous(memory_format=memory_format)
    assert torch.autograd.gradcheck(_EveryOther.apply, (maps.requires_grad_(),))

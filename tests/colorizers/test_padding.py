"""Networks that want multiples see films of any size."""

from __future__ import annotations

import pytest
import torch

from streamcolor.colorizers.padding import at_multiples, padded


def test_pictures_are_mirrored_at_the_right_and_at_the_bottom() -> None:
    picture = torch.arange(5 * 6, dtype=torch.float32).reshape(1, 1, 5, 6)
    result = padded(picture, 4)
    assert result.shape == (1, 1, 8, 8)
    assert torch.equal(result[..., :5, :6], picture)
    assert torch.equal(result[..., 5:, :6], picture[..., [3, 2, 1], :])
    assert torch.equal(result[..., :5, 6:], picture[..., [4, 3]])
    assert padded(picture, 1) is picture


@pytest.mark.parametrize(("size", "becomes"), [((2, 40), (16, 48)), ((8, 9), (16, 16)), ((16, 17), (16, 32))])
def test_sides_too_short_to_be_mirrored_are_enlarged(size: tuple[int, int], becomes: tuple[int, int]) -> None:
    assert padded(torch.rand(1, 3, *size), 16).shape[-2:] == becomes


@pytest.mark.parametrize("size", [(5, 6), (16, 16), (17, 40), (1, 1), (9, 300), (2, 33)])
def test_what_a_network_makes_returns_at_the_size_of_the_picture(size: tuple[int, int]) -> None:
    picture = torch.rand(1, 3, *size)
    seen = []

    def network(given: torch.Tensor) -> torch.Tensor:
        seen.append(given.shape[-2:])
        return given[:, :2] * 2

    result = at_multiples(network, picture, 16)
    assert result.shape == (1, 2, *size)
    assert all(side % 16 == 0 for side in seen[0])
    if min(size) > 8:
        assert torch.equal(result, picture[:, :2] * 2)

"""The blocks of Zhang et al.: weights that were trained before they had a module of their own keep their names."""

from __future__ import annotations

import torch
from torch import nn

from streamcolor.colorizers.attention_exemplar.features import Features
from streamcolor.colorizers.stylization.colorization import ColorizationNetwork
from streamcolor.colorizers.zhang import Block, feature_blocks, features

OF_CONVOLUTION = ("weight", "bias")
OF_NORMALIZATION = (*OF_CONVOLUTION, "running_mean", "running_var", "num_batches_tracked")
# Places of the convolutions of each block; normalization comes two places after the last.
SIX = {1: (0, 2), 2: (0, 2), 3: (0, 2, 4), 4: (0, 2, 4), 5: (0, 2, 4), 6: (0, 2, 4)}
TEN = SIX | {7: (0, 2, 4), 8: (1, 3), 9: (1,)}


def names(prefix: str, blocks: dict[int, tuple[int, ...]]) -> set[str]:
    found = {
        f"{prefix}{n}.{place}.{kind}" for n, places in blocks.items() for place in places for kind in OF_CONVOLUTION
    }
    return found | {f"{prefix}{n}.{places[-1] + 2}.{kind}" for n, places in blocks.items() for kind in OF_NORMALIZATION}


def test_names_of_weights_are_those_of_earlier_runs() -> None:
    assert set(Features(4).state_dict()) == names("b", SIX)
    plain = (
        "model8up",
        "model3short8",
        "model9up",
        "model2short9",
        "model10up",
        "model1short10",
        "model10.1",
        "model_out.0",
    )
    expected = names("model", TEN) | {f"{name}.{kind}" for name in plain for kind in OF_CONVOLUTION}
    assert set(ColorizationNetwork(4).state_dict()) == expected


def test_a_head_for_classes_would_make_the_network_of_2017() -> None:
    parameters = [*ColorizationNetwork().parameters(), *nn.Conv2d(256, 529, 1).parameters()]
    assert sum(p.numel() for p in parameters) == 34_187_027


def test_blocks_see_every_other_place_of_the_one_before() -> None:
    torch.manual_seed(0)
    blocks = [block.eval() for block in feature_blocks(1, 4)]
    picture = torch.rand(1, 1, 32, 48)
    expected, seen = [], picture
    for number, block in enumerate(blocks):
        seen = block(seen[:, :, ::2, ::2] if 0 < number < 4 else seen)
        expected.append(seen)
    found = features(blocks, picture)
    assert [tuple(f.shape[2:]) for f in found] == [(32, 48), (16, 24), (8, 12), (4, 6), (4, 6), (4, 6)]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert [block[0].dilation[0] for block in blocks] == [1, 1, 1, 1, 2, 2]
    assert isinstance(Block(4, 4, after_relu=True)[0], nn.ReLU)

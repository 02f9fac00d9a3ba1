"""attention-exemplar: sizes, both sources of colors and their gate, references, films of any size, export."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from streamcolor.color.convert import rgb_to_lab
from streamcolor.colorizers.attention_exemplar import AttentionExemplar
from streamcolor.colorizers.attention_exemplar.bins import gamut_bins, soft_histogram
from streamcolor.colorizers.attention_exemplar.features import Features, at_grid, described
from streamcolor.colorizers.attention_exemplar.network import (
    AB,
    TEMPERATURE,
    AttentionExemplarNetwork,
    DatabaseColors,
    Variant,
)
from streamcolor.colorizers.cache import ReferenceCache
from streamcolor.colorizers.contract import Reference
from streamcolor.errors import InputError

from scenes import color_any_size, pictures, reference


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def small(variant: Variant | None = None, **changes: int) -> AttentionExemplarNetwork:
    """An eighth of the width, with batch statistics as after training, not those of the first moment."""
    network = AttentionExemplarNetwork(8, variant=variant, **changes)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    return network.eval().requires_grad_(False)


def scene(height: int = 64, width: int = 96) -> tuple[Tensor, Tensor]:
    """A texture in norm Z: lightness (1, 1, H, W) and ab (1, 2, H, W)."""
    rng = np.random.default_rng(5)
    coarse, fine = (rng.random((height // n, width // n, 3), np.float32) for n in (8, 2))
    rgb = sum(0.5 * cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC) for part in (coarse, fine))
    lightness, ab = rgb_to_lab(np.clip(rgb, 0, 1))
    return torch.from_numpy(lightness)[None, None] / 100 - 0.5, torch.from_numpy(np.ascontiguousarray(ab))[None] / AB


def prior(ab: Tensor) -> Tensor:
    return soft_histogram(ab * AB, gamut_bins())


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_numbers_of_parameters() -> None:
    network = AttentionExemplarNetwork()
    assert count(network) == 30_240_265
    assert count(network.features) == 21_796_928 and count(network.decoder) == 8_288_386
    assert count(network.database.query) == 133_893 and count(network.database.confidence) == 16_833
    assert count(network.semantic) == 4_225
    assert count(AttentionExemplarNetwork(centers=torch.zeros(313, 2))) == 30_270_269


def test_shapes() -> None:
    lightness, ab = scene()
    other = torch.rand(1, 1, 48, 80) - 0.5, torch.rand(1, 2, 48, 80) - 0.5
    colored = small()(lightness, *other, prior(ab))
    assert colored.ab.shape == (1, 2, 64, 96) and colored.ab.abs().max() < 1
    assert colored.gate.shape == colored.semantic.shape == colored.database.shape == (1, 2, 16, 24)
    assert colored.likelihood.shape == (1, 261, 8, 12)
    assert small().color_alone(lightness).shape == (1, 2, 64, 96)
    features = Features(8)(lightness)
    assert [tuple(f.shape[1:]) for f in features[:4]] == [(8, 64, 96), (16, 32, 48), (32, 16, 24), (64, 8, 12)]
    assert features[4].shape == features[5].shape == features[3].shape
    assert described(features, lightness, (16, 24)).shape == (1, 384, 31 * 8 + 1)
    # At the paper's width a key has 1,985 numbers.
    assert 31 * 64 + 1 == 1985 == AttentionExemplarNetwork().key_channels


def test_weights_of_the_gate_sum_to_1_and_mix_the_colors() -> None:
    network = small()
    lightness, ab = scene()
    colored = network(lightness, lightness.flip(-1), ab.flip(-1), prior(ab))
    assert (colored.gate.sum(1) - 1).abs().max() < 1e-6 and colored.gate.min() > 0
    assert colored.gate.std() > 1e-4
    mixed = colored.gate[:, :1] * colored.semantic + colored.gate[:, 1:] * colored.database
    features = network.features(lightness)
    torch.testing.assert_close(network.decoder(features, lightness, mixed), colored.ab, atol=1e-6, rtol=0)


def test_every_place_finds_itself_in_a_reference_that_is_the_film() -> None:
    network = small()
    lightness, ab = scene()
    keys, values = network.tokens(lightness, ab)
    torch.testing.assert_close(keys.norm(dim=-1), torch.ones(1, 384))
    assert ((keys @ keys.transpose(1, 2)).argmax(-1) == torch.arange(384)).float().mean() >= 0.95
    found = network(lightness, lightness, ab, prior(ab)).semantic
    truth = at_grid(ab, (16, 24))
    assert (found - truth).norm(dim=1).mean() < 0.7 * truth.norm(dim=1).mean()
    # Equation 1, spelled out for one place.
    weights = torch.softmax(keys[0] @ keys[0, 77] / TEMPERATURE, 0)
    torch.testing.assert_close((weights[:, None] * values[0]).sum(0), found.flatten(2)[0, :, 77], atol=1e-5, rtol=0)


def test_the_gate_does_not_depend_on_the_colors_of_the_reference() -> None:
    network = small()
    lightness, ab = scene()
    one, other = (network(lightness, lightness.flip(-1), color, prior(ab)) for color in (ab, -ab))
    assert torch.equal(one.gate, other.gate) and not torch.equal(one.ab, other.ab)
    torch.testing.assert_close(one.semantic, -other.semantic)


def test_the_prior_picks_among_what_the_network_holds_possible() -> None:
    source = DatabaseColors(16, gamut_bins()).requires_grad_(False)
    deepest = torch.randn(1, 16, 3, 4)
    uniform = torch.full((1, 261), 1 / 261)
    found, likelihood = source(deepest, uniform)
    mean = torch.einsum("bnhw,nc->bchw", likelihood, gamut_bins() / AB)
    torch.testing.assert_close(found[:, :2], mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(likelihood.sum(1), torch.ones(1, 3, 4))
    for parameter in source.query.parameters():
        parameter.zero_()
    wanted = 200
    found, _ = source(deepest, F.one_hot(torch.tensor([wanted]), 261).float())
    error = (found[0, :2] * AB - gamut_bins()[wanted][:, None, None]).norm(dim=0)
    assert 0 < error.max() <= 0.027 * 220
    unsteered = DatabaseColors(16, gamut_bins(), prior=False)
    unsteered.load_state_dict(source.state_dict())
    torch.testing.assert_close(unsteered(deepest, F.one_hot(torch.tensor([3]), 261).float()), source(deepest, uniform))


def test_places_of_large_pictures_are_capped_and_few_are_enough() -> None:
    network = small(max_tokens=100)
    lightness, ab = scene()
    assert network.grid(lightness) == (8, 12)
    keys, values = network.tokens(lightness, ab)
    assert keys.shape == (1, 96, 249) and values.shape == (1, 96, 2)
    colored = network(lightness, lightness, ab, prior(ab))
    assert colored.gate.shape == (1, 2, 8, 12) and colored.ab.shape == (1, 2, 64, 96)
    assert AttentionExemplarNetwork().grid(torch.empty(1, 1, 256, 256)) == (64, 64)
    rows, columns = AttentionExemplarNetwork().grid(torch.empty(1, 1, 1080, 1920))
    assert 3900 < rows * columns <= 4096 and abs(rows / columns - 9 / 16) < 0.01
    # Fewer than 64 matches: the confidence sees zeros for the rest.
    assert torch.isfinite(network(lightness, lightness[..., :16, :16], ab[..., :16, :16], prior(ab)).ab).all()


def test_many_places_attend_in_parts() -> None:
    """192 x 256 has 3,072 places, three parts: the same as place by place."""
    network = small()
    lightness = torch.rand(1, 1, 192, 256) - 0.5
    reference_lightness, ab = scene(32, 32)
    keys, values = network.tokens(reference_lightness, ab)
    found = network.color(lightness, keys, values, prior(ab)).semantic.flatten(2)[0]
    query = described(network.features(lightness), lightness, (48, 64))
    for place in (0, 1023, 1024, 3071):
        expected = torch.softmax(keys[0] @ query[0, place] / TEMPERATURE, 0) @ values[0]
        torch.testing.assert_close(found[:, place], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("variant", "weights"),
    [(Variant(dcm=False), (1, 0)), (Variant(sparse=False), (1, 1)), (Variant(dcm=False, sparse=False), (1, 0))],
)
def test_variants_without_a_gate(variant: Variant, weights: tuple[int, int]) -> None:
    lightness, ab = scene()
    network = small(variant)
    colored = network(lightness, lightness.flip(-1), ab, prior(ab))
    assert torch.equal(colored.gate, torch.tensor(weights).float()[None, :, None, None].expand(1, 2, 16, 24))
    mixed = colored.semantic + (colored.database if variant.dcm else 0)
    again = network.decoder(network.features(lightness), lightness, mixed)
    torch.testing.assert_close(again, colored.ab, atol=1e-6, rtol=0)


def test_what_a_variant_leaves_out_learns_nothing() -> None:
    lightness, ab = scene()
    for variant, idle in (
        (Variant(), set()),
        (Variant(prior=False), set()),
        (Variant(dcm=False), {"semantic.confidence", "database.query", "database.confidence"}),
        (Variant(sparse=False), {"semantic.confidence", "database.confidence"}),
    ):
        network = AttentionExemplarNetwork(8, variant=variant)
        network(lightness, lightness.flip(-1), ab, prior(ab)).ab.square().sum().backward()
        without = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
        assert {".".join(name.split(".")[:2]) for name in without} == idle


@pytest.mark.parametrize("size", [(64, 96), (45, 71), (17, 31), (3, 40), (1, 1)])
def test_films_of_any_size(size: tuple[int, int]) -> None:
    chroma = color_any_size(AttentionExemplar.around(small()), size)
    assert chroma.confidence.min() >= 0.1 and chroma.confidence.max() <= 0.3


def test_it_listens_to_its_references_and_manages_without() -> None:
    made = AttentionExemplar.around(small())
    here = pictures(1)[0]
    warm = reference(here)
    cold = Reference(warm.lightness, -warm.ab, warm.opaque, 0)
    with torch.inference_mode():
        first, second, none = (made.color(here, [made.encode(r) for r in given]) for given in ([warm], [cold], []))
    assert (first.ab - second.ab).abs().max() > 1e-3 and (first.ab - none.ab).abs().max() > 1e-3
    assert none.confidence.max() == pytest.approx(0.1) and first.confidence.mean() > 0.1


def test_a_reference_is_encoded_once_and_that_changes_nothing() -> None:
    made = AttentionExemplar.around(small())
    frames = pictures(2)
    entry = made.encode(reference(frames[0]))
    assert {name: tuple(t.shape) for name, t in entry.tensors.items()} == {
        "keys": (1, 384, 249),
        "values": (1, 384, 2),
        "histogram": (1, 261),
    }
    for frame in frames:
        assert torch.equal(made.color(frame, [entry]).ab, made.color(frame, [made.encode(reference(frames[0]))]).ab)


def test_several_references_are_one_longer_one_and_transparent_parts_say_nothing() -> None:
    made = AttentionExemplar.around(small())
    frames = pictures(3)
    one, two = (made.encode(reference(frame)) for frame in frames[:2])
    forth, back = made.color(frames[2], [one, two]).ab, made.color(frames[2], [two, one]).ab
    torch.testing.assert_close(forth, back, atol=2e-3, rtol=0)
    assert (forth - made.color(frames[2], [one]).ab).abs().max() > 1e-3
    half, painted = reference(frames[0]), reference(frames[0])
    half.opaque[..., :48] = 0
    painted.opaque[..., :48] = 0
    painted.ab[..., :48] = 100
    entry, other = made.encode(half), made.encode(painted)
    assert entry.tensors["keys"].shape[1] == 192
    for name, tensor in entry.tensors.items():
        assert torch.equal(tensor, other.tensors[name]), name
    half.opaque[:] = 0
    assert made.encode(half).tensors["keys"].shape[1] == 384


def test_mixed_precision_is_near() -> None:
    here = pictures(1)[0]
    network = small()
    colors = []
    for precision in ("fp32", "bf16"):
        made = AttentionExemplar.around(network, "cpu", precision, stabilize=False)
        cache = ReferenceCache(made.info.policy)
        cache.start_shot([made.encode(reference(here))])
        chroma, _ = made.step(here, cache, 0)
        assert chroma.ab.dtype == torch.float32
        colors.append(chroma.ab)
    assert 0 < (colors[0] - colors[1]).abs().mean() < 2


@pytest.mark.parametrize("variant", [Variant(), Variant(dcm=False), Variant(prior=False, sparse=False)])
def test_weights_come_from_a_file_that_fits(tmp_path: Path, variant: Variant) -> None:
    network = small(variant)
    file = tmp_path / "w.safetensors"
    save_file(network.state_dict(), file)
    here = pictures(1)[0]
    made = AttentionExemplar(file)
    assert made.network.variant == variant and made.network.width == 8
    direct = AttentionExemplar.around(network)
    colors = [one.color(here, [one.encode(reference(here))]).ab for one in (made, direct)]
    assert torch.equal(*colors)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    tensors = small().state_dict()
    says = "does not hold the weights of attention-exemplar"
    for wrong in ({"x": torch.zeros(1)}, tensors | {"switches": torch.ones(2)}, tensors | {"extra": torch.zeros(1)}):
        save_file(wrong, file)
        with pytest.raises(InputError, match=says):
            AttentionExemplar(file)
    file.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=says):
        AttentionExemplar(file)


def inputs() -> tuple[Tensor, ...]:
    lightness, ab = scene(48, 64)
    return lightness, lightness[..., :32, :40].contiguous(), ab[..., :32, :40].contiguous(), prior(ab)

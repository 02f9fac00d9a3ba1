"""Stylization: sizes, both sub-nets, their joint use and switches, films of any size, export."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from streamcolor.colorizers.cache import ReferenceCache
from streamcolor.colorizers.contract import Reference
from streamcolor.colorizers.stylization import Stylization
from streamcolor.colorizers.stylization.colorization import ColorizationNetwork, hint_loss, hint_mask
from streamcolor.colorizers.stylization.matching import Variant
from streamcolor.colorizers.stylization.network import StylizationNetwork, Switches
from streamcolor.colorizers.stylization.transfer import SITES, TransferNetwork
from streamcolor.errors import InputError

from scenes import color_any_size, pictures, reference

WIDTH = 4


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def network(**switches: object) -> StylizationNetwork:
    """With batch statistics as after training, and a decoder around grey, so that colors are not all clipped."""
    torch.manual_seed(1)
    made = StylizationNetwork(WIDTH, Switches(**switches))  # type: ignore[arg-type]
    for part in made.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    last = made.transfer.decoder["d1_1"]
    last.weight.data *= 0.1
    last.bias.data += 0.5
    made.colorization.model_out[0].weight.data *= 0.05
    return made.eval().requires_grad_(False)


def colorizer(*, stabilize: bool = True, **switches: object) -> Stylization:
    return Stylization.around(network(**switches), stabilize=stabilize)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_full_size_has_the_published_number_of_parameters() -> None:
    made = StylizationNetwork()
    assert count(made.transfer.encoder) == 3_505_728
    assert count(made.transfer.decoder) == 5_053_507
    assert count(made.colorization) == 34_051_074
    assert sum(count(getattr(made.colorization, f"model{n}")) for n in range(1, 5)) == 7_637_760
    assert count(made) == 42_610_309


def test_features_have_the_sizes_of_vgg19() -> None:
    found = TransferNetwork(WIDTH).features(torch.rand(1, 3, 32, 48))
    sizes = [(WIDTH, 32, 48), (2 * WIDTH, 16, 24), (4 * WIDTH, 8, 12), (8 * WIDTH, 4, 6)]
    assert [tuple(f.shape[1:]) for f in found] == sizes
    assert all(f.min() == 0 for f in found)


def test_the_encoder_is_vgg19_with_mean_pooling() -> None:
    """Layer by layer in numpy's order of things: torchvision's ``features`` with average pools and mirrored borders."""
    made = TransferNetwork(WIDTH)
    layers: list[nn.Module] = []
    for name, layer in made.encoder.items():
        if name in ("conv2_1", "conv3_1", "conv4_1"):
            layers.append(nn.AvgPool2d(2))
        plain = nn.Conv2d(layer.in_channels, layer.out_channels, 3)
        plain.load_state_dict(layer.state_dict())
        layers += [nn.ReflectionPad2d(1), plain, nn.ReLU()]
    picture = torch.rand(1, 3, 32, 40)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = (picture - mean[:, None, None]) / deviation[:, None, None]
    torch.testing.assert_close(made.features(picture)[-1], nn.Sequential(*layers)(normal))


def test_statistics_are_matched_at_seven_sites_and_nothing_else_changes() -> None:
    made = network().transfer
    picture, other = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 48, 24)
    plain = made(picture)
    style = made.style(other)
    assert tuple(style) == SITES["both"] == ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "d4_1", "d3_1", "d2_1")
    results = {sites: made.transfer(picture, style, sites) for sites in ("enc", "dec", "both")}
    for one in results.values():
        assert (one - plain).abs().max() > 1e-3
    assert (results["enc"] - results["both"]).abs().max() > 1e-4
    assert (results["dec"] - results["both"]).abs().max() > 1e-4
    # What goes on from a site has the statistics of the style there.
    seen = {}

    def keep(site: str, features: torch.Tensor) -> torch.Tensor:
        from streamcolor.colorizers.stylization.matching import adain

        seen[site] = adain(features.flatten(2), style[site][0]).reshape(features.shape)
        return seen[site]

    torch.testing.assert_close(made.run(picture, keep), results["both"])
    for site, features in seen.items():
        torch.testing.assert_close(
            features.flatten(2).mean(-1, keepdim=True), style[site][0].mean, atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize(("variant", "error"), [("adain", 1e-5), ("wct", 2e-3)])
def test_a_picture_that_is_its_own_style_stays(variant: Variant, error: float) -> None:
    made = network().transfer
    picture = torch.nn.functional.interpolate(torch.rand(1, 3, 9, 9), size=(64, 64), mode="bicubic").clamp(0, 1)
    found = made.transfer(picture, made.style(picture, variant))
    torch.testing.assert_close(found, made(picture), atol=error, rtol=0)


def test_label_maps_swap_colors_with_the_regions() -> None:
    """Left and right halves of the content take the statistics of the halves that their labels name."""
    made = network().transfer
    style = torch.zeros(1, 3, 32, 64)
    style[:, 0, :, :32], style[:, 2, :, 32:] = 0.9, 0.9
    style = (style + torch.rand(1, 3, 32, 64) * 0.1).clamp(0, 1)
    content = torch.rand(1, 1, 32, 64).expand(-1, 3, -1, -1)
    left = torch.zeros(32, 64, dtype=torch.bool)
    left[:, :32] = True
    halves = {1: left, 2: ~left}
    straight = made.transfer(content, made.style(style, where=halves), where=halves)
    swapped = made.transfer(content, made.style(style, where=halves), where={1: ~left, 2: left})
    means = [[picture[..., part].mean((0, 2)) for part in (left, ~left)] for picture in (straight, swapped)]
    (straight_left, straight_right), (swapped_left, swapped_right) = means
    apart = (straight_left - straight_right).norm()
    assert apart > 0.02
    assert (straight_left - swapped_right).norm() < 0.5 * apart
    assert (straight_right - swapped_left).norm() < 0.5 * apart


@pytest.mark.parametrize("variant", ["adain", "wct"])
def test_one_label_everywhere_is_none_and_positions_without_a_region_stay(variant: Variant) -> None:
    made = network().transfer
    content, style = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 48)
    whole = made.transfer(content, made.style(style, variant))
    ones = {0: torch.ones(32, 48, dtype=torch.bool)}
    here = {0: torch.ones(32, 32, dtype=torch.bool)}
    torch.testing.assert_close(made.transfer(content, made.style(style, variant, ones), where=here), whole)
    torch.testing.assert_close(made.transfer(content, made.style(style, variant, ones), where={}), made(content))


def test_the_colorization_sub_net_works_at_an_eighth_of_the_size() -> None:
    made = network().colorization
    assert [made.model5[0].dilation, made.model6[0].dilation, made.model7[0].dilation] == [(2, 2), (2, 2), (1, 1)]
    lightness, mask = torch.rand(1, 1, 32, 40) - 0.5, torch.zeros(1, 1, 32, 40)
    found = made(lightness, torch.zeros(1, 2, 32, 40), mask)
    assert found.shape == (1, 2, 32, 40) and found.abs().max() < 1
    seen = []
    made.model4.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    made(lightness, torch.zeros(1, 2, 32, 40), mask)
    assert seen == [(1, 4 * WIDTH, 4, 5)]


def test_hints_count_where_the_mask_is_one_and_nowhere_else() -> None:
    made = network()
    lightness = torch.rand(1, 1, 32, 32) * 100
    mask = hint_mask(32, 32, 0.1)
    coarse = torch.zeros(1, 2, 32, 32).requires_grad_()
    made.refined(lightness, coarse, mask).square().sum().backward()
    assert coarse.grad is not None
    assert (coarse.grad * (1 - mask) == 0).all()
    assert ((coarse.grad * mask).abs().sum(1, keepdim=True)[mask == 1] > 0).float().mean() > 0.9
    nothing = torch.zeros_like(mask)
    assert torch.equal(made.refined(lightness, torch.rand(1, 2, 32, 32) * 99, nothing), made.guess(lightness))


def test_the_hint_mask_depends_on_seed_and_size_alone() -> None:
    first = hint_mask(96, 64, 0.1, 3)
    assert torch.equal(first, hint_mask(96, 64, 0.1, 3))
    assert not torch.equal(first, hint_mask(96, 64, 0.1, 4))
    assert set(first.unique().tolist()) == {0.0, 1.0} and 0.08 < first.mean() < 0.12
    assert hint_mask(8, 8, 0.0).sum() == 0 and hint_mask(8, 8, 1.0).mean() == 1


def test_known_places_weigh_eleven_times_as_much() -> None:
    """Equation 2 with lambda 10: where the Huber loss is straight, its gradient is 11 times that of other places."""
    truth, mask = torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    colors = torch.full((1, 2, 8, 8), 0.5, requires_grad=True)
    loss = hint_loss(colors, truth, mask)
    loss.backward()
    ratio = colors.grad[..., :4] / colors.grad[..., 4:]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 11.0))
    # By hand: |x| - delta / 2 beyond delta = 1 / 110, x^2 / (2 delta) below, mean over all.
    delta = 1 / 110
    assert loss.item() == pytest.approx(((11 * 0.5 - delta / 2) + (0.5 - delta / 2)) / 2, rel=1e-6)
    small = torch.full((1, 2, 8, 8), 0.0005)
    expected = ((11 * 0.0005) ** 2 + 0.0005**2) / (2 * delta) / 2
    assert hint_loss(small, truth, mask).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [(64, 96), (57, 71), (71, 57), (45, 71), (17, 9), (3, 40), (1, 1)])
def test_films_of_any_size(size: tuple[int, int]) -> None:
    color_any_size(colorizer(), size)


@pytest.mark.parametrize(
    ("switches", "listens"),
    [
        ({}, True),
        ({"variant": "wct"}, True),
        ({"sites": "enc"}, True),
        ({"sites": "dec"}, True),
        ({"extractor": "grey"}, True),
        ({"stages": "transfer"}, True),
        ({"stages": "color"}, False),
        ({"density": 0.0}, False),
    ],
    ids=str,
)
def test_switches_change_what_comes_of_a_reference(switches: dict[str, object], listens: bool) -> None:
    here = pictures(1)[0]
    warm = reference(here)
    cold = Reference(warm.lightness, -warm.ab, warm.opaque, 0)
    made = colorizer(**switches)
    first, second, none = (made.color(here, entries).ab for entries in ([made.encode(warm)], [made.encode(cold)], []))
    assert (not torch.equal(first, second)) is listens
    assert (not torch.equal(first, none)) is listens
    # Without a reference all variants are the colorization sub-net alone.
    assert torch.equal(none, colorizer().color(here, []).ab)
    if switches and listens:
        plain = colorizer()
        assert not torch.equal(first, plain.color(here, [plain.encode(warm)]).ab)


@pytest.mark.parametrize("variant", ["adain", "wct"])
def test_a_reference_is_encoded_once_and_that_changes_nothing(variant: Variant) -> None:
    made = colorizer(variant=variant)
    frames = pictures(2)
    entry = made.encode(reference(frames[0]))
    for frame in frames:
        assert torch.equal(made.color(frame, [entry]).ab, made.color(frame, [made.encode(reference(frames[0]))]).ab)
    assert entry.tensors["conv4_1.spread"].shape[-1] == (1 if variant == "adain" else 8 * WIDTH)


def test_several_references_count_together_and_transparent_parts_do_not() -> None:
    made = colorizer()
    frames = pictures(3)
    one, two = (made.encode(reference(frame)) for frame in frames[:2])
    forth, back = made.color(frames[2], [one, two]).ab, made.color(frames[2], [two, one]).ab
    torch.testing.assert_close(forth, back, atol=2e-2, rtol=0)
    torch.testing.assert_close(made.color(frames[2], [one, one]).ab, made.color(frames[2], [one]).ab, atol=2e-2, rtol=0)
    assert (forth - made.color(frames[2], [one]).ab).abs().max() > 1e-3
    half = reference(frames[0])
    half.opaque[..., :48] = 0
    entry = made.encode(half)
    assert int(entry.tensors["conv1_1.count"]) == 64 * 48 and int(entry.tensors["conv4_1.count"]) == 8 * 6
    # What is painted over the transparent half is not felt at the first site.
    painted = reference(frames[0])
    painted.opaque[..., :48] = 0
    painted.ab[..., :40] = 80
    torch.testing.assert_close(made.encode(painted).tensors["conv1_1.mean"], entry.tensors["conv1_1.mean"])
    half.opaque[:] = 0
    assert int(made.encode(half).tensors["conv1_1.count"]) == 64 * 96


def test_a_still_film_keeps_its_colors() -> None:
    made = colorizer(stabilize=False)
    frame = pictures(1)[0]
    entry = made.encode(reference(frame))
    first, entry_of_frame = made.step(frame, filled(made, entry), 0)
    later, _ = made.step(frame, filled(made, entry), 77)
    assert torch.equal(first.ab, later.ab) and entry_of_frame is None


def filled(made: Stylization, entry) -> ReferenceCache:
    cache = ReferenceCache(made.info.policy)
    cache.start_shot([entry])
    return cache


@pytest.mark.parametrize("variant", ["adain", "wct"])
def test_mixed_precision_is_near(variant: Variant) -> None:
    here = pictures(1)[0]
    exact = colorizer(variant=variant)
    mixed = Stylization.around(exact.network, "cpu", "bf16")
    colors = []
    for made in (exact, mixed):
        chroma, _ = made.step(here, filled(made, made.encode(reference(here))), 0)
        assert chroma.ab.dtype == torch.float32
        colors.append(chroma.ab)
    assert 0 < (colors[0] - colors[1]).abs().mean() < 3


def test_weights_come_from_a_file_that_fits(tmp_path: Path) -> None:
    made = network()
    file = tmp_path / "w.safetensors"
    save_file(made.state_dict(), file)
    here = pictures(1)[0]
    direct = Stylization.around(made)
    expected = direct.color(here, [direct.encode(reference(here))]).ab
    for switches, same in ((None, True), (Switches(variant="wct"), False)):
        loaded = Stylization(file, switches=switches)
        found, _ = loaded.step(here, filled(loaded, loaded.encode(reference(here))), 0)
        assert torch.equal(found.ab, expected) is same
    save_file(ColorizationNetwork(WIDTH).state_dict(), file)
    with pytest.raises(InputError, match=r"does not hold the weights of stylization: \d+ do not fit"):
        Stylization(file)


def inputs(height: int = 32, width: int = 48) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.rand(1, 1, height, width) * 100, torch.rand(1, 3, 40, 24), hint_mask(height, width, 0.1)


def test_switches_are_no_weights() -> None:
    kept = set(network().state_dict())
    assert kept == set(network(variant="wct", stages="color").state_dict())

"""What the network promises apart from quality: reads return colors that exist, masks hold, sizes vary."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from streamcolor.colorizers.cache import ReferenceCache
from streamcolor.colorizers.contract import Reference
from streamcolor.colorizers.prior.colorizer import look
from streamcolor.colorizers.prior.network import PriorNetwork, Seen, Widths
from streamcolor.colorizers.propagator import Propagator
from streamcolor.colorizers.propagator.colorizer import (
    AT_ONCE,
    GUESS_SHARE,
    KNOWN,
    STEADY,
    UNGUIDED,
    UNSURE,
    averaged,
    choose,
    share_below,
)
from streamcolor.colorizers.propagator.detail import detailed, slopes
from streamcolor.colorizers.propagator.encoder import SMALL, Neighborly
from streamcolor.colorizers.propagator.motion import carry
from streamcolor.colorizers.propagator.network import Fusion, PropagatorNetwork
from streamcolor.colorizers.registry import create, find
from streamcolor.colorizers.residual import laid_out

from scenes import pictures, random_colorizer, reference


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_parameters_are_as_listed() -> None:
    assert sum(p.numel() for p in PropagatorNetwork().parameters()) == find("propagator").parameters


@torch.inference_mode()
def test_keys_hold_what_things_are_beside_what_they_look_like() -> None:
    """The same lightness with other things seen in it has other keys, by the part that is of things."""
    torch.manual_seed(0)
    network, light = PropagatorNetwork().eval(), torch.rand(1, 1, 64, 96) - 0.5
    seen = look(PriorNetwork(), light)
    other = Seen(*(level.flip(3) for level in (seen.at4, seen.at8, seen.at16, seen.at32)))
    one, two = network.encoder(light, seen), network.encoder(light, other)
    sight = network.encoder.sight
    for key, alike, keys in ((one.key8, two.key8, SMALL.keys[1]), (one.key16, two.key16, SMALL.keys[2])):
        assert key.shape[1] == keys + SMALL.sight == keys + sight.keys
        torch.testing.assert_close(key.norm(dim=1), torch.ones_like(key[:, 0]))
        appearance, things = (
            [F.normalize(half, dim=1) for half in part.split([keys, SMALL.sight], 1)] for part in (key, alike)
        )
        torch.testing.assert_close(appearance[0], things[0])
        assert ((appearance[1] * things[1]).sum(1) < 0.9999).any()
    # A fresh network starts without a say in the context, so that one that is trained can be given sight.
    assert torch.equal(one.context16, two.context16) and torch.equal(one.key4, two.key4)
    sight.mixtures[0].weight[2 * sight.keys :].normal_()
    assert not torch.equal(network.encoder(light, seen).context16, network.encoder(light, other).context16)


def test_a_guess_follows_lightness_within_its_cell() -> None:
    light = torch.linspace(-0.5, 0.5, 16).repeat(16, 1)[None, None]
    guess = torch.zeros(1, 4, 4, 4)
    guess[:, 0], guess[:, 3] = 0.2, 0.5
    ab = laid_out(guess, light)
    torch.testing.assert_close(ab[:, 0], torch.full((1, 16, 16), 0.2))
    inner = ab[0, 1, 8, 2:-2] - ab[0, 1, 8, 1:-3]
    assert inner.mean() > 0 and abs(float(ab[:, 1].mean())) < 1e-3


def test_keys_know_their_neighborhood() -> None:
    """A change two places away changes the key, one three places away does not; all keys are unit vectors."""
    torch.manual_seed(0)
    keys = Neighborly(8, 8, 16, 5)
    x = torch.randn(1, 8, 12, 12)
    changed = x.clone()
    changed[0, :, 6, 6] += 1
    one, other = keys(x), keys(changed)
    torch.testing.assert_close(one.norm(dim=1), torch.ones(1, 12, 12))
    moved = (one - other).abs().amax(1)[0]
    assert (moved[4:9, 4:9] > 0).all()
    moved[4:9, 4:9] = 0
    assert moved.max() == 0


def test_detail_follows_lightness_where_color_does() -> None:
    """Two flat halves: what a coarse cell on the edge has mixed is parted again along the lightness."""
    here = np.full((64, 64), 30, np.float32)
    here[:, 30:] = 70
    truth = np.stack([np.where(here > 50, 40, -20), np.where(here > 50, 10, 30)], -1).astype(np.float32)
    small = cv2.resize(truth, (16, 16), interpolation=cv2.INTER_AREA)
    fine = detailed(small, here, None)
    wanted = cv2.resize(truth, (32, 32), interpolation=cv2.INTER_AREA)
    plain = cv2.resize(small, (32, 32), interpolation=cv2.INTER_CUBIC)
    assert np.abs(fine - wanted).mean() < 0.5 * np.abs(plain - wanted).mean()
    flat = np.full((16, 16), 50, np.float32)
    assert np.abs(slopes(small, flat)).max() < 1e-4


def test_a_picture_finds_its_own_colors() -> None:
    colorizer = create("propagator")
    frames = pictures(1)
    cache = ReferenceCache(colorizer.info.policy)
    guide = reference(frames[0])
    cache.start_shot([colorizer.encode(guide)])
    chroma, _ = colorizer.step(frames[0], cache, 0)
    truth = F.avg_pool2d(guide.ab, 2)[0]
    assert (chroma.ab - truth).norm(dim=0).mean() < 0.5 * truth.norm(dim=0).mean()


def test_guesses_are_not_held_for_knowledge() -> None:
    """However long a film goes on without a reference, its confidence stays below that of a guided one."""
    colorizer = create("propagator")
    frames = pictures(6)
    means = []
    for guides in ([], [colorizer.encode(reference(frames[0]))]):
        cache = ReferenceCache(colorizer.info.policy)
        cache.start_shot(guides)
        for n, frame in enumerate(frames):
            chroma, entry = colorizer.step(frame, cache, n)
            assert entry is not None
            cache.remember(entry)
        means.append(float(chroma.confidence.mean()))
    assert means[0] < 0.3 and means[0] < 0.5 * means[1]


def told(ab: tuple[float, float]) -> PriorNetwork:
    """A prior that says the same of everything."""
    prior = PriorNetwork(Widths(up=(16, 16, 16))).eval()
    assert prior.out.bias is not None
    prior.out.bias.data[:2] = torch.tensor(ab) / 110
    return prior


@pytest.mark.parametrize("bounds", [KNOWN, UNSURE])
def test_less_is_leaned_on_the_more_is_known(bounds: tuple[float, float]) -> None:
    trust = torch.tensor([0.1, bounds[0], sum(bounds) / 2, bounds[1], 0.9])
    torch.testing.assert_close(share_below(bounds, trust), torch.tensor([1, 1, 0.5, 0, 0]))


@pytest.mark.parametrize(("trust", "leans"), [(0.4, True), (0.65, False)])
def test_what_is_not_trusted_leans_on_the_guess_and_remembers_the_mixture(trust: float, leans: bool) -> None:
    """The fusion gives all the weight to a read of a red reference, the guess is blue."""
    torch.manual_seed(0)
    network = PropagatorNetwork().eval()
    red, blue = torch.tensor([40.0, 20.0]), torch.tensor([5.0, -35.0])
    assert network.fusion.out.bias is not None and network.semantic.guess.bias is not None
    bias, guess = network.fusion.out.bias.data, network.semantic.guess
    bias[Fusion.CANDIDATES.index("coarse")] = 50.0
    bias[-2] = np.log(trust / (1 - trust))
    guess.weight.data.zero_()
    guess.bias.data = torch.tensor([*(blue / 110), 0.0, 0.0])
    colorizer = Propagator.around(network, told((float(blue[0]), float(blue[1]))))
    one, other = pictures(2)
    cache = ReferenceCache(colorizer.info.policy)
    # Far away in time, so that nothing is followed.
    painted = Reference(one, red[None, :, None, None].expand(1, 2, *one.shape[-2:]), torch.ones_like(one), 500)
    cache.start_shot([colorizer.encode(painted)])
    chroma, entry = colorizer.step(other, cache, 0)
    assert entry is not None
    remembered = entry.tensors["value4"][0, :2].mean((1, 2)) * 110
    torch.testing.assert_close(remembered, red, atol=1, rtol=0)
    # Where this little is known of a frame it leans on the prior as well.
    lean = share_below(KNOWN, torch.tensor(trust)) * (1 - trust)
    shown = torch.lerp(red, blue, GUESS_SHARE if leans else 0.0)
    torch.testing.assert_close(chroma.ab.mean((1, 2)), torch.lerp(shown, blue, lean), atol=1, rtol=0)


def test_the_prior_is_steady_where_flow_is_believed() -> None:
    now, before = torch.full((1, 2, 8, 8), 0.3), torch.full((1, 2, 8, 8), 0.1)
    flow = torch.zeros(1, 4, 8, 8)
    flow[:, 2, :4] = 1
    assert averaged(now, None, flow) is now and averaged(now, before, None) is now
    found = averaged(now, before, flow)
    torch.testing.assert_close(found[:, :, :4], torch.full((1, 2, 4, 8), 0.3 - STEADY * 0.2))
    assert torch.equal(found[:, :, 4:], now[:, :, 4:])


def test_without_a_reference_unsure_colors_lean_on_the_prior() -> None:
    """Beside the fusion, which here gives the prior no weight: the output leans, what is remembered does not."""
    torch.manual_seed(0)
    network = PropagatorNetwork().eval()
    assert network.fusion.out.bias is not None
    network.fusion.out.bias.data[Fusion.CANDIDATES.index("prior")] = -50.0
    here = pictures(1)[0]
    results = []
    for ab in ((0.0, 0.0), (20.0, -30.0)):
        colorizer = Propagator.around(network, told(ab))
        results.append(colorizer.step(here, ReferenceCache(colorizer.info.policy), 0))
    (grey, one), (colored, two) = results
    assert one is not None and two is not None
    torch.testing.assert_close(one.tensors["value4"], two.tensors["value4"], atol=1e-4, rtol=0)
    share = (colored.ab - grey.ab).mean((1, 2)) / torch.tensor([20.0, -30.0])
    assert ((share > 1 - UNGUIDED - 0.05) & (share <= 1.05)).all()


def test_what_the_prior_says_is_one_of_the_candidates() -> None:
    """Where the fusion gives it all the weight, the frame has its colors, and the next frames remember them."""
    torch.manual_seed(0)
    network = PropagatorNetwork().eval()
    assert network.fusion.out.bias is not None
    network.fusion.out.bias.data[Fusion.CANDIDATES.index("prior")] = 50.0
    colorizer = Propagator.around(network, told((20.0, -30.0)))
    chroma, entry = colorizer.step(pictures(1)[0], ReferenceCache(colorizer.info.policy), 0)
    assert entry is not None and chroma.confidence.max() <= UNGUIDED
    said = torch.tensor([20.0, -30.0])[:, None, None]
    torch.testing.assert_close(chroma.ab, said.expand_as(chroma.ab), atol=0.5, rtol=0)
    torch.testing.assert_close(entry.tensors["value4"][0, :2] * 110, said.expand(-1, 16, 24), atol=0.5, rtol=0)


def test_what_is_transparent_does_not_guide() -> None:
    """A loud color under alpha 0 leaves no trace: the result equals the one with another color there."""
    colorizer = create("propagator")
    frames = pictures(2)
    opaque = torch.ones_like(frames[0])
    opaque[..., 48:] = 0
    results = []
    for loud in (100.0, -100.0):
        ab = reference(frames[0]).ab.clone()
        ab[..., 48:] = loud
        cache = ReferenceCache(colorizer.info.policy)
        cache.start_shot([colorizer.encode(Reference(frames[0], ab, opaque, 0))])
        results.append(colorizer.step(frames[1], cache, 1)[0].ab)
    torch.testing.assert_close(results[0], results[1], atol=1e-3, rtol=0)


def test_any_number_of_references() -> None:
    colorizer = create("propagator")
    frames = pictures(4)
    cache = ReferenceCache(colorizer.info.policy)
    cache.start_shot([colorizer.encode(reference(frame, n)) for n, frame in enumerate(frames)])
    chroma, entry = colorizer.step(frames[1], cache, 1)
    assert entry is not None and torch.isfinite(chroma.ab).all()


def test_a_frame_is_colored_from_a_bounded_number_of_references() -> None:
    """Near in time first, then the most alike; those left out change nothing."""
    colorizer = random_colorizer()
    frames = pictures(40)
    near = [reference(frames[n], n) for n in (9, 12)]
    alike = [reference(frames[n], None) for n in (11, 30, 31, 32)]
    far = [reference(90 - frames[n], 500 + n) for n in range(6)]
    cache = ReferenceCache(colorizer.info.policy)
    entries = [colorizer.encode(r) for r in (*far, *alike, *near)]
    cache.start_shot(entries)
    here = frames[10][0, 0].numpy()
    chosen = choose(cache.permanent, here, 10)
    places = [next(n for n, entry in enumerate(entries) if entry is one) for one in chosen]
    assert len(places) == AT_ONCE and places == sorted(places)
    assert {6, 10, 11} <= set(places) and min(places) >= 6, "frame 11 without a number, 9 and 12 by their numbers"
    few = ReferenceCache(colorizer.info.policy)
    few.start_shot(chosen)
    torch.testing.assert_close(
        colorizer.step(frames[10], cache, 10)[0].ab, colorizer.step(frames[10], few, 10)[0].ab, atol=0, rtol=0
    )


def test_bf16_is_close_to_fp32() -> None:
    exact = random_colorizer()
    mixed = Propagator.around(exact.network, exact.prior, precision="bf16")
    frames = pictures(4)
    results = []
    for colorizer in (exact, mixed):
        cache = ReferenceCache(colorizer.info.policy)
        cache.start_shot([colorizer.encode(reference(frames[0]))])
        for number in range(3):
            chroma, entry = colorizer.step(frames[number], cache, number)
            assert entry is not None and chroma.ab.dtype == torch.float32
            cache.remember(entry)
        results.append(chroma.ab)
    assert 0 < (results[0] - results[1]).norm(dim=0).mean() < 2


def test_it_colors_without_any_reference() -> None:
    colorizer = random_colorizer()
    frames = pictures(3)
    cache = ReferenceCache(colorizer.info.policy)
    for number, lightness in enumerate(frames):
        chroma, entry = colorizer.step(lightness, cache, number)
        assert entry is not None and torch.isfinite(chroma.ab).all()
        cache.remember(entry)


def test_carried_colors_follow_the_flow() -> None:
    """A flow of two cells to the right fetches what lies there in the frame before."""
    value = torch.arange(12.0).expand(1, 3, 8, 12).clone()
    flow = torch.zeros(1, 4, 8, 12)
    flow[:, 0], flow[:, 2] = 2, 1
    moved = carry(value, flow)
    torch.testing.assert_close(moved[:, :3, :, :10], value[..., 2:])
    torch.testing.assert_close(moved[:, 3], torch.ones(1, 8, 12))


def test_a_link_leads_to_the_frame_right_before_or_nowhere() -> None:
    """Frames that nobody wanted colored leave a gap: what is held then is an older frame, and no link leads there."""
    colorizer = random_colorizer()
    first, second, third = pictures(3)
    cache = ReferenceCache(colorizer.info.policy)
    links = []
    for number, picture in ((4, first), (5, second), (9, third)):
        chroma, entry = colorizer.step(picture, cache, number)
        assert entry is not None
        cache.remember(entry)
        links.append(chroma.link)
    assert links[0] is None and links[2] is None
    assert links[1] is not None and links[1].back.shape == (*chroma.ab.shape[1:], 2)

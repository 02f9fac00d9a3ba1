"""What the network promises apart from quality: reads return colors that exist, masks hold, sizes vary."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from streamcolor.colorizers.cache import ReferenceCache
from streamcolor.colorizers.contract import Reference
from streamcolor.colorizers.propagator import Propagator
from streamcolor.colorizers.propagator.colorizer import AT_ONCE, choose
from streamcolor.colorizers.propagator.matching import Memory
from streamcolor.colorizers.propagator.motion import carry
from streamcolor.colorizers.propagator.network import PropagatorNetwork
from streamcolor.colorizers.registry import create, find

from scenes import pictures, reference


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_parameters_are_as_listed() -> None:
    assert sum(p.numel() for p in PropagatorNetwork().parameters()) == find("propagator").parameters


def test_the_fine_read_equals_attention_over_the_window_written_out() -> None:
    """The gather of 6 x 6 keys a cell against a plain loop over every query's own 5 x 5 window."""
    torch.manual_seed(0)
    network = PropagatorNetwork().eval()
    with torch.inference_mode():
        one, two = (network.encoder(torch.rand(1, 1, 48, 64) - 0.5) for _ in range(2))
        ab = torch.randn(1, 2, 12, 16) * 0.2
        memory = Memory.of(two, ab, torch.ones(1, 1, 12, 16))
        index = torch.randint(0, 6 * 8, (1, 48))
        found, scores = network.matcher._fine(one, [memory], torch.zeros_like(index), index)
        sharpness = network.matcher.log_sharpness4.exp()
        for y, x in [(0, 0), (5, 7), (11, 15), (10, 2)]:
            cell = int(index[0, (y // 2) * 8 + x // 2])
            cy, cx = 2 * (cell // 8) + y % 2, 2 * (cell % 8) + x % 2
            places = [(min(max(cy + i, 0), 11), min(max(cx + j, 0), 15)) for i in range(-2, 3) for j in range(-2, 3)]
            cosine = torch.stack([(one.key4[0, :, y, x] * memory.key4[0, :, i, j]).sum() for i, j in places])
            values = torch.stack([memory.value4[0, :, i, j] for i, j in places])
            expected = torch.softmax(cosine * sharpness, 0) @ values
            torch.testing.assert_close(found[0, :, y, x], expected, atol=1e-4, rtol=1e-3)
            torch.testing.assert_close(scores[0, 0, y, x], cosine.max(), atol=1e-4, rtol=1e-3)


def test_the_coarse_read_equals_attention_over_all_cells_at_once() -> None:
    """Bands and parts against one dense softmax over everything, masked by distance."""
    torch.manual_seed(2)
    network = PropagatorNetwork().eval()
    with torch.inference_mode():
        query, *others = (network.encoder(torch.rand(2, 1, 128, 96) - 0.5) for _ in range(4))
        radii = (0, 3, 5)
        memories = [
            Memory.of(f, torch.randn(2, 2, 32, 24) * 0.2, torch.ones(2, 1, 32, 24), r)
            for f, r in zip(others, radii, strict=True)
        ]
        coarse, best, memory, cell = network.matcher._coarse(query, memories)
        height, width = 16, 12
        keys = torch.cat([m.key8.flatten(2) for m in memories], 2)
        similarity = query.key8.flatten(2).transpose(1, 2) @ keys * network.matcher.log_sharpness8.exp()
        y, x = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
        apart = torch.maximum((y[:, None] - y).abs(), (x[:, None] - x).abs())
        similarity = similarity + torch.cat([(apart > (r or 99)) * -1e4 for r in radii], 1)
        values = torch.cat([m.value(8).flatten(2).transpose(1, 2) for m in memories], 1)
        expected = torch.softmax(similarity, 2) @ values
        torch.testing.assert_close(coarse.flatten(2).transpose(1, 2), expected, atol=1e-5, rtol=1e-4)
        assert torch.equal(memory * height * width + cell, similarity.argmax(2))
        top = similarity.max(2)[0] / network.matcher.log_sharpness8.exp()
        torch.testing.assert_close(best.flatten(1), top, atol=1e-5, rtol=1e-4)


def test_a_picture_finds_its_own_colors() -> None:
    colorizer = create("propagator")
    frames = pictures(1)
    cache = ReferenceCache(colorizer.info.policy)
    guide = reference(frames[0])
    cache.start_shot([colorizer.encode(guide)])
    chroma, _ = colorizer.step(frames[0], cache, 0)
    truth = F.avg_pool2d(guide.ab, 2)[0]
    assert (chroma.ab - truth).norm(dim=0).mean() < 0.5 * truth.norm(dim=0).mean()


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


def test_cells_out_of_reach_are_not_read() -> None:
    torch.manual_seed(1)
    network = PropagatorNetwork().eval()
    with torch.inference_mode():
        features = network.encoder(torch.rand(1, 1, 64, 256) - 0.5)
        ab = torch.zeros(1, 2, 16, 64)
        ab[..., 48:] = 1.0
        near = network.matcher(features, [Memory.of(features, ab, torch.ones(1, 1, 16, 64), radius=2)])
    assert near.coarse[:, 0, :, :40].abs().max() < 1e-6


def test_any_number_of_references() -> None:
    colorizer = create("propagator")
    frames = pictures(4)
    cache = ReferenceCache(colorizer.info.policy)
    cache.start_shot([colorizer.encode(reference(frame, n)) for n, frame in enumerate(frames)])
    chroma, entry = colorizer.step(frames[1], cache, 1)
    assert entry is not None and torch.isfinite(chroma.ab).all()


def random_colorizer(seed: int = 5) -> Propagator:
    torch.manual_seed(seed)
    network = PropagatorNetwork().eval().requires_grad_(False)
    for tensor in network.parameters():
        tensor.add_(torch.randn_like(tensor) * 0.02)
    return Propagator.around(network)


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
    mixed = Propagator.around(exact.network, precision="bf16")
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

"""The reads of the cache against attention written out, and what they do with lightness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from streamcolor.colorizers.prior.colorizer import look
from streamcolor.colorizers.prior.network import PriorNetwork
from streamcolor.colorizers.propagator.encoder import Features
from streamcolor.colorizers.propagator.matching import _best
from streamcolor.colorizers.propagator.memory import Memory, regressed
from streamcolor.colorizers.propagator.network import PropagatorNetwork
from streamcolor.colorizers.propagator.parts import worth_a_look
from streamcolor.colorizers.residual import resize


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def encoded(network: PropagatorNetwork, *shape: int) -> Features:
    """Of random lightness (B, 1, h, w), seen by a prior that nobody has trained."""
    light = torch.rand(shape[0], 1, *shape[1:]) - 0.5
    return network.encoder(light, look(PriorNetwork(), light))  # type: ignore[no-any-return]


def test_the_fine_read_equals_attention_over_the_window_written_out() -> None:
    """The gather of 6 x 6 keys a cell against a plain loop over every query's own 5 x 5 window."""
    torch.manual_seed(0)
    network = PropagatorNetwork().eval()
    with torch.inference_mode():
        one, two = (encoded(network, 1, 48, 64) for _ in range(2))
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
            values = torch.stack([memory.moments(4)[0, :, i, j] for i, j in places])
            expected = torch.softmax(cosine * sharpness, 0) @ values
            torch.testing.assert_close(found[0, :, y, x], expected, atol=1e-4, rtol=1e-3)
            torch.testing.assert_close(scores[0, 0, y, x], cosine.max(), atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_the_best_of_bf16_is_found_by_its_bits() -> None:
    torch.manual_seed(0)
    similarity = torch.randn(2, 3, 5, 40).bfloat16()
    best, index = _best(similarity)
    assert torch.equal(best, similarity.max(-1)[0])
    assert torch.equal(best, similarity.gather(-1, index[..., None])[..., 0])


@torch.inference_mode()
def test_a_place_like_nothing_in_reach_is_read_from_the_least_unlike() -> None:
    """All cosines below 0, beside cells that are hidden: in the order of bits those would come first."""
    torch.manual_seed(0)
    network = PropagatorNetwork().eval()
    features = encoded(network, 1, 64, 96)
    ab4, trust4 = 0.3 * torch.randn(1, 2, 16, 24), torch.ones(1, 1, 16, 24)
    trust4[..., :8] = 0
    opposite = replace(features, key8=-features.key8.mean((2, 3), keepdim=True).expand_as(features.key8))
    memories = [Memory.of(opposite, ab4, trust4), Memory.of(opposite, ab4, trust4, radius=2)]
    wanted = network.matcher(features, memories)
    with torch.autocast("cpu", torch.bfloat16):
        read = network.matcher(features, memories)
    assert (wanted.scores[:, 2] < 0).any()
    torch.testing.assert_close(read.coarse.float(), wanted.coarse, atol=0.02, rtol=0.05)


def test_the_coarse_read_equals_attention_over_all_cells_at_once() -> None:
    """Bands and parts against one dense softmax over everything, masked by distance, less what belongs to others."""
    torch.manual_seed(2)
    network = PropagatorNetwork().eval()
    torch.nn.init.normal_(network.encoder.claim.weight)
    with torch.inference_mode():
        query, *others = (encoded(network, 2, 128, 96) for _ in range(4))
        radii = (0, 3, 5)
        memories = [
            Memory.of(f, torch.randn(2, 2, 32, 24) * 0.2, torch.ones(2, 1, 32, 24), r)
            for f, r in zip(others, radii, strict=True)
        ]
        coarse, match, memory, cell = network.matcher._coarse(query, memories)
        height, width = 16, 12
        keys = torch.cat([m.key8.flatten(2) for m in memories], 2)
        cosine = query.key8.flatten(2).transpose(1, 2) @ keys
        y, x = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
        apart = torch.maximum((y[:, None] - y).abs(), (x[:, None] - x).abs())
        cosine = cosine + torch.cat([(apart > (r or 99)) * -1e4 for r in radii], 1)
        claims = cosine.amax(1, keepdim=True).clamp_min(0)
        share = resize(query.claim16, query.key8).flatten(2).transpose(1, 2)
        assert share.std() > 0.01
        similarity = (cosine - share * claims) * network.matcher.log_sharpness8.exp()
        values = torch.cat([m.moments(8).flatten(2).transpose(1, 2) for m in memories], 1)
        expected = torch.softmax(similarity, 2) @ values
        torch.testing.assert_close(coarse.flatten(2).transpose(1, 2), expected, atol=1e-5, rtol=1e-4)
        assert torch.equal(memory * height * width + cell, similarity.argmax(2))
        taken = similarity.argmax(2, keepdim=True)
        torch.testing.assert_close(match[:, 0].flatten(1), cosine.gather(2, taken)[..., 0], atol=1e-5, rtol=1e-4)
        gap = claims.expand_as(cosine).gather(2, taken) - cosine.gather(2, taken)
        torch.testing.assert_close(match[:, 1].flatten(1), gap[..., 0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mixed", [False, True])
def test_what_is_still_in_the_frame_is_not_taken_for_what_has_moved(mixed: bool) -> None:
    """A red and a blue coat; the blue one stays, the red one goes elsewhere and looks a little more like the blue."""
    torch.manual_seed(3)
    network = PropagatorNetwork().eval()
    height, width, red, blue, now = 8, 8, 10, 40, 21
    there = F.normalize(torch.randn(96, height * width), dim=0)
    here = there.clone()
    here[:, red] = F.normalize(torch.randn(96), dim=0)
    here[:, now] = F.normalize(there[:, blue] + 0.9 * there[:, red], dim=0)
    ab8 = torch.zeros(2, height * width)
    ab8[0, red], ab8[1, blue] = 0.5, -0.5
    ab4 = ab8.view(1, 2, height, width).repeat_interleave(2, 2).repeat_interleave(2, 3)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        seen = encoded(network, 1, 64, 64)
        one, two = (replace(seen, key8=key.view(1, 96, height, width)) for key in (here, there))
        memory = Memory.of(two, ab4, torch.ones(1, 1, 16, 16))
        for claim, wanted in ((0.0, blue), (0.5, red)):
            query = replace(one, claim16=torch.full((1, 1, 4, 4), claim))
            coarse, _, _, cell = network.matcher._coarse(query, [memory])
            color = coarse[0, :2].flatten(1)[:, now].abs()
            assert cell[0, now] == wanted
            assert (color[0] > color[1]) == (wanted == red)
            assert cell[0, blue] == blue


def memory_of(light4: torch.Tensor, ab4: torch.Tensor, trust4: torch.Tensor) -> Memory:
    nothing = torch.zeros(1, 1, 1, 1)
    return Memory(nothing, nothing, nothing, torch.cat([ab4, trust4], 1), light4)


def test_moments_of_larger_cells_are_means_over_what_is_trusted() -> None:
    rng = np.random.default_rng(0)
    light, ab = rng.uniform(-0.5, 0.5, (8, 8)), rng.normal(0, 0.3, (2, 8, 8))
    trust = (rng.random((8, 8)) < 0.6).astype(float)
    memory = memory_of(*(torch.tensor(x, dtype=torch.float32)[None] for x in (light[None], ab, trust[None])))
    found = memory.moments(16)[0].numpy()
    for cell in ((0, 0), (1, 1)):
        part = np.s_[4 * cell[0] : 4 * cell[0] + 4, 4 * cell[1] : 4 * cell[1] + 4]
        on = trust[part] > 0
        li, a, b = light[part][on], ab[0][part][on], ab[1][part][on]
        expected = [a.mean(), b.mean(), on.mean()]
        expected += [li.mean(), (li**2).mean(), (li * a).mean(), (li * b).mean(), (a**2 + b**2).mean()]
        np.testing.assert_allclose(found[:, cell[0], cell[1]], expected, atol=1e-5)


def test_regression_of_color_on_lightness_is_ridge_regression() -> None:
    """Against numpy's least squares with the ridge as extra samples."""
    rng = np.random.default_rng(1)
    light = rng.uniform(-0.5, 0.5, 200)
    ab = np.stack([0.4 * light + 0.1, -0.2 * light]) + rng.normal(0, 0.02, (2, 200))
    fields = [*ab, np.ones(200), light, light**2, light * ab[0], light * ab[1], (ab**2).sum(0)]
    moments = torch.tensor([f.mean() for f in fields], dtype=torch.float64).view(1, 8, 1, 1)
    ridge, here = 1e-2, 0.37
    found = regressed(moments, torch.full((1, 1, 1, 1), here, dtype=torch.float64), torch.tensor(ridge))
    centered = np.append(light - light.mean(), np.sqrt(200 * ridge))
    for n in (0, 1):
        slope = np.linalg.lstsq(centered[:, None], np.append(ab[n] - ab[n].mean(), 0), rcond=None)[0][0]
        assert abs(float(found.ab[0, n]) - (ab[n].mean() + slope * (here - light.mean()))) < 1e-6
    assert abs(float(found.gap) - abs(here - light.mean())) < 1e-6
    assert 0 < float(found.deviation) < 0.1


def test_cells_out_of_reach_are_not_read() -> None:
    torch.manual_seed(1)
    network = PropagatorNetwork().eval()
    with torch.inference_mode():
        features = encoded(network, 1, 64, 256)
        ab = torch.zeros(1, 2, 16, 64)
        ab[..., 48:] = 1.0
        near = network.matcher(features, [Memory.of(features, ab, torch.ones(1, 1, 16, 64), radius=2)])
    assert near.coarse[:, 0, :, :40].abs().max() < 1e-6


@torch.inference_mode()
def test_a_read_that_looks_at_some_cells_only_is_one_of_which_the_others_are_hidden() -> None:
    torch.manual_seed(4)
    network = PropagatorNetwork().eval()
    query, *others = (encoded(network, 2, 64, 96) for _ in range(3))
    colors = [0.2 * torch.randn(2, 2, 16, 24) for _ in others]
    shown = torch.rand(2, len(others) * 8 * 12).topk(90, 1)[1].sort(1)[0]
    trust8 = torch.zeros(2, len(others) * 8 * 12).scatter(1, shown, 1.0).view(2, len(others), 8, 12)
    trust4 = trust8.repeat_interleave(2, 2).repeat_interleave(2, 3)
    whole = [Memory.of(f, ab, torch.ones(2, 1, 16, 24)) for f, ab in zip(others, colors, strict=True)]
    hidden = [Memory.of(f, ab, trust4[:, n : n + 1]) for n, (f, ab) in enumerate(zip(others, colors, strict=True))]
    known = [torch.rand(2, 2, 8, 12) for _ in others]
    whole, hidden = (
        [replace(memory, moved8=moved) for memory, moved in zip(memories, known, strict=True)]
        for memories in (whole, hidden)
    )
    moving8 = torch.rand(2, 1, 8, 12)
    found = network.matcher._coarse(query, whole, moving8, shown)
    wanted = network.matcher._coarse(query, hidden, moving8)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_of_many_references_only_cells_worth_a_look_are_read() -> None:
    torch.manual_seed(5)
    height, width, references = 4, 6, 5
    similarity = torch.rand(2, height * width, references * height * width)
    # What stands still is alike in all references, more than what is found once.
    similarity[:, :20] *= 0.1
    for number in range(references):
        similarity[:, range(20), [number * height * width + place for place in range(20)]] = 0.9 - 0.01 * number
    similarity[:, 20:] *= 0.3
    kept = worth_a_look(similarity, width)
    assert kept is not None
    assert kept.shape == (2, 4 * int(1.25 * height * width))
    for row, cells in zip(similarity, kept, strict=True):
        assert (cells.diff() != 0).all() and len(cells.unique()) == len(cells)
        # Of stride 8, in rows of twice as many: each has its cell of stride 16.
        places = set((cells // (2 * width) // 2 * width + cells % (2 * width) // 2).tolist())
        assert 4 * len(places) == len(cells)
        assert set(row.argmax(1).tolist()) <= places
    assert worth_a_look(similarity[..., : height * width], width) is None

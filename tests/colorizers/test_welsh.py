"""Welsh, Ashikhmin, Mueller 2002, by what the method promises."""

from __future__ import annotations

import numpy as np
import torch

from streamcolor.colorizers.cache import ReferenceCache
from streamcolor.colorizers.contract import Reference
from streamcolor.colorizers.welsh import Welsh, deviation, jittered, nearest_samples, remapped


def picture(seed: int = 0, height: int = 64, width: int = 80) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, 8, 10, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1) * 100


def colored(lightness: torch.Tensor) -> Reference:
    ab = torch.cat([lightness - 50, 30 - lightness / 2], 1)
    return Reference(lightness, ab, torch.ones_like(lightness), 0)


def run(reference: Reference, frames: list[torch.Tensor]) -> list[torch.Tensor]:
    welsh = Welsh()
    cache = ReferenceCache(welsh.info.policy)
    cache.start_shot([welsh.encode(reference)])
    result = []
    for number, frame in enumerate(frames):
        chroma, entry = welsh.step(frame, cache, number)
        assert entry is not None
        cache.remember(entry)
        result.append(chroma.ab)
    return result


def test_every_color_occurs_in_the_reference() -> None:
    reference = colored(picture(1))
    (ab,) = run(reference, [picture(2)])
    known = {tuple(c) for c in reference.ab[0].flatten(1).t().tolist()}
    assert {tuple(c) for c in ab.flatten(1).t().tolist()} <= known


def test_a_reference_of_its_own_is_better_than_grey() -> None:
    reference = colored(picture(3))
    (ab,) = run(reference, [reference.lightness])
    assert (ab - reference.ab[0]).norm(dim=0).mean() < 0.2 * reference.ab[0].norm(dim=0).mean()


def test_one_color_everywhere_gives_that_color() -> None:
    lightness = picture(4)
    ab = torch.tensor([12.0, -7.0]).view(1, 2, 1, 1).expand(1, 2, 64, 80).contiguous()
    (result,) = run(Reference(lightness, ab, torch.ones_like(lightness), None), [picture(5)])
    assert torch.equal(result, ab[0])


def test_a_still_shot_does_not_flicker_and_exposure_is_taken_from_its_first_frame() -> None:
    reference, frame = colored(picture(6)), picture(7)
    first, second, third = run(reference, [frame, frame, frame * 0.9])
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_transparent_parts_lend_no_color() -> None:
    lightness = picture(8)
    ab = torch.zeros(1, 2, 64, 80)
    ab[..., 40:] = 90
    opaque = torch.ones_like(lightness)
    opaque[..., 40:] = 0
    (result,) = run(Reference(lightness, ab, opaque, None), [picture(9)])
    assert result.abs().max() == 0


def test_the_pieces_match_their_definitions() -> None:
    rng = np.random.default_rng(0)
    light = (rng.random((20, 30)) * 100).astype(np.float32)
    window = np.pad(light, 2, mode="reflect")[7:12, 9:14]
    np.testing.assert_allclose(deviation(light)[7, 9], window.std(), rtol=1e-3)
    moved = remapped(light, 40.0, 5.0)
    np.testing.assert_allclose([moved.mean(), moved.std()], [40, 5], rtol=1e-4)
    rows, columns = jittered(64, 80, rng)
    assert len(rows) == 256 and {(int(y) // 4, int(x) // 5) for y, x in zip(rows, columns, strict=True)} == {
        (a, b) for a in range(16) for b in range(16)
    }
    level, width = (rng.random(50) * 100).astype(np.float32), (rng.random(50) * 20).astype(np.float32)
    table = nearest_samples(level, width)
    assert table[200, 40] == np.argmin(0.5 * (50 - level) ** 2 + 0.5 * (10 - width) ** 2)

"""Every model of the registry keeps the one contract."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from streamcolor.colorizers.cache import ReferenceCache
from streamcolor.colorizers.contract import Colorizer, Reference
from streamcolor.colorizers.registry import MODELS, choose_device, create, find
from streamcolor.errors import CallError, DeviceError, InputError

from scenes import SIZE, pictures, reference

IDS = [model.id for model in MODELS]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def color_all(colorizer: Colorizer, frames: list[torch.Tensor], cache: ReferenceCache) -> list[torch.Tensor]:
    result = []
    for number, lightness in enumerate(frames):
        chroma, entry = colorizer.step(lightness, cache, number)
        if entry is not None:
            cache.remember(entry)
        result.append(chroma.ab)
    return result


def filled(colorizer: Colorizer, frames: list[torch.Tensor]) -> ReferenceCache:
    cache = ReferenceCache(colorizer.info.policy)
    cache.start_shot([colorizer.encode(reference(frames[0]))])
    return cache


@pytest.mark.parametrize("model_id", IDS)
def test_shapes_and_ranges(model_id: str) -> None:
    colorizer = create(model_id)
    frames = pictures(3)
    cache = filled(colorizer, frames)
    chroma, _ = colorizer.step(frames[0], cache, 0)
    assert chroma.ab.ndim == 3 and chroma.ab.shape[0] == 2
    assert SIZE[0] % chroma.ab.shape[1] == 0 and SIZE[1] % chroma.ab.shape[2] == 0
    assert chroma.confidence.shape == (1, *chroma.ab.shape[1:])
    assert chroma.ab.dtype == chroma.confidence.dtype == torch.float32
    assert chroma.ab.abs().max() <= 110
    assert chroma.confidence.min() >= 0 and chroma.confidence.max() <= 1
    assert colorizer.info.id == model_id and find(model_id).references == colorizer.info.references


@pytest.mark.parametrize("model_id", IDS)
def test_step_changes_neither_cache_nor_model(model_id: str) -> None:
    colorizer = create(model_id)
    frames = pictures(3)
    cache = filled(colorizer, frames)
    color_all(colorizer, frames[:2], cache)
    before = cache.snapshot()
    first, _ = colorizer.step(frames[2], cache, 2)
    second, _ = colorizer.step(frames[2], cache, 2)
    assert cache.snapshot() == before
    assert torch.equal(first.ab, second.ab) and torch.equal(first.confidence, second.confidence)


@pytest.mark.parametrize("model_id", IDS)
def test_a_snapshot_goes_on_as_if_nothing_had_happened(model_id: str) -> None:
    frames = pictures(9)
    whole = create(model_id)
    expected = color_all(whole, frames, filled(whole, frames))
    first = create(model_id)
    cache = filled(first, frames)
    color_all(first, frames[:6], cache)
    elsewhere, moved = create(model_id), ReferenceCache.restore(cache.snapshot())
    for number in range(6, 9):
        chroma, entry = elsewhere.step(frames[number], moved, number)
        if entry is not None:
            moved.remember(entry)
        assert torch.equal(chroma.ab, expected[number])


@pytest.mark.parametrize("model_id", IDS)
def test_a_reference_that_arrives_in_the_middle_of_a_shot_is_heard(model_id: str) -> None:
    colorizer = create(model_id)
    frames = pictures(6)
    cache = ReferenceCache(colorizer.info.policy)
    color_all(colorizer, frames[:3], cache)
    guide = reference(frames[4], 4)
    cache.add_reference(colorizer.encode(guide))
    chroma = color_all(colorizer, frames[3:5], cache)[-1]
    truth = torch.nn.functional.adaptive_avg_pool2d(guide.ab[0], chroma.shape[1:])
    assert (chroma - truth).norm(dim=0).mean() < 0.6 * truth.norm(dim=0).mean()


@pytest.mark.parametrize("model_id", IDS)
def test_memory_stays_bounded(model_id: str) -> None:
    colorizer = create(model_id)
    frames = pictures(30)
    cache = filled(colorizer, frames)
    sizes = []
    for number, lightness in enumerate(frames):
        _, entry = colorizer.step(lightness, cache, number)
        if entry is not None:
            cache.remember(entry)
        sizes.append(cache.nbytes)
    assert max(sizes[15:]) == max(sizes)
    assert max(sizes) <= max(sizes[:15])


@pytest.mark.parametrize("model_id", IDS)
def test_without_a_reference_colors_are_guesses_or_grey(model_id: str) -> None:
    colorizer = create(model_id)
    chroma, _ = colorizer.step(pictures(1)[0], ReferenceCache(colorizer.info.policy), 0)
    assert torch.isfinite(chroma.ab).all()
    assert chroma.confidence.mean() < 0.6


def test_wrong_names_are_refused_with_a_hint() -> None:
    with pytest.raises(CallError, match="did you mean 'propagator'"):
        create("propagater")
    with pytest.raises(CallError, match="welsh"):
        create("xyz")
    with pytest.raises(CallError, match="no device"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="cuda"):
            choose_device("cuda")


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="does not hold the weights of propagator"):
        create("propagator", weights=file)
    with pytest.raises(CallError, match="has no weights"):
        create("flow", weights=file)

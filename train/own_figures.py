"""Figures that only one family of models has, on pictures that are never trained on.

mse: of what a network of the stable family emits, its own lightness included, as in the paper (section 5.3).
entropy: of the gate of attention-exemplar, in nats (equation 11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from streamcolor.colorizers.loading import read_weights
from streamcolor.errors import InputError
from streamcolor.train.attention_exemplar import AttentionExemplarRecipe, AttentionExemplarTask
from streamcolor.train.entries import Figures
from streamcolor.train.exemplar_losses import sparse_loss
from streamcolor.train.loop import Task
from streamcolor.train.paired import Pair, PairBatches, as_lab, load_pairs
from streamcolor.train.stable import StableRecipe, StableTask, prepared


def held_pairs(output: Path, size: int, most: int) -> list[Pair]:
    """First and last frames of the clips that are held back, and two parts each of at most so many stills."""
    found = list[Pair]()
    for folder in ("clips", "stills"):
        try:
            pairs = load_pairs(output / "held" / folder, size=size)
        except InputError:
            continue
        both = sorted([*pairs.train, *pairs.validation], key=lambda pair: pair.name)
        found += both if folder == "clips" else both[:most]
    return found


def own_figures(recipe: Any, weights: Path, pairs: Sequence[Pair]) -> Mapping[str, Figures]:
    """Figures by pair; none for a model that has none of its own."""
    if isinstance(recipe, StableRecipe):
        stable = StableTask(recipe)
        _load(stable, weights, recipe.model)
        return {_name(pairs, n): {"mse": _mse(stable, pairs[n])} for n in range(len(pairs))}
    if isinstance(recipe, AttentionExemplarRecipe) and recipe.sparse and recipe.dcm:
        exemplar = AttentionExemplarTask(recipe)
        _load(exemplar, weights, recipe.model)
        return {_name(pairs, n): {"entropy": _entropy(exemplar, pairs[n])} for n in range(len(pairs))}
    return {}


def _mse(task: StableTask, pair: Pair) -> float:
    with torch.inference_mode():
        batch = PairBatches([pair], 1, prepared(task.recipe.space)).of([0])
        return F.mse_loss(*task.colored(task.network, batch)).item()


def _entropy(task: AttentionExemplarTask, pair: Pair) -> float:
    with torch.inference_mode():
        batch = {"target": as_lab(pair.target)[None], "reference": as_lab(pair.reference)[None]}
        colored = task.made(batch)[1]
    assert colored is not None, "references were given"
    return float(sparse_loss(colored.gate))


def _load(task: Task, weights: Path, model: str) -> None:
    task.network.load_state_dict(read_weights(weights, model))
    task.eval()


def _name(pairs: Sequence[Pair], number: int) -> str:
    """Files of one name may lie in several folders."""
    return f"{number} {pairs[number].name}"

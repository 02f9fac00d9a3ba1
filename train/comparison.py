"""Every model on the same data with the same budget: trained, scored, and reported, row by row.

    OUTPUT/data/                     see ``held_out``
    OUTPUT/rows/ROW/run/             the training run; row.json: its steps; scores.json: done
    OUTPUT/results.csv, RESULTS.md, RESULTS.png

A row that is done is not done again; one that was stopped goes on. The budget is a time: that of a few steps is
measured first, and the number of steps that fit is kept. On a processor it is processor time, whatever else the machine
does.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import torch
import yaml

from streamcolor.colorizers.contract import Colorizer
from streamcolor.colorizers.registry import create, find
from streamcolor.colorizers.stylization import Stylization
from streamcolor.errors import InputError, Interrupted, StreamcolorError
from streamcolor.media.atomic import replaced
from streamcolor.train.budget import PROBED, step_seconds
from streamcolor.train.ends import Bytes
from streamcolor.train.entries import Entry, Figures
from streamcolor.train.held_out import Clip, Counts, Target, held_clips, prepare, targets, write_picture
from streamcolor.train.loop import LoopRecipe
from streamcolor.train.own_figures import held_pairs, own_figures
from streamcolor.train.paired import Pair
from streamcolor.train.recipes import UNBOUNDED, OnStep, family_of
from streamcolor.train.results import write_results
from streamcolor.train.rows import BUILT_IN, Comparison, Row, chosen_rows, folder_name, recipe_of
from streamcolor.train.scoring import Subject, find_lpips, reference_pictures, score_clips, score_targets
from streamcolor.train.stylization import StylizationRecipe

OWN = "own"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Places:
    """What a comparison works on. root: folder with stills and clips. output: folder of the comparison."""

    root: Path
    output: Path
    device: str = "cpu"

    def row(self, name: str) -> Path:
        return self.output / "rows" / folder_name(name)

    def run(self, path: str) -> Path:
        """Weights of ``ROW`` or of ``ROW/FOLDER``, a folder of its run."""
        name, _, folder = path.partition("/")
        return self.row(name) / "run" / folder / "average.safetensors"


def compare(
    comparison: Comparison,
    places: Places,
    *,
    only: Sequence[str] = (),
    say: Say = lambda _: None,
    on_step: OnStep | None = None,
) -> Path:
    """Do all rows, or some and those that they need, and write what is known then; the report.

    Raises CallError for an unknown row, InputError for data that cannot be used, and StreamcolorError at the end that
    names the rows that failed: they do not keep the others from being done and reported.
    """
    names = chosen_rows(comparison, only)
    counts = prepare(places.root, places.output / "data", comparison.data, comparison.size, comparison.seed)
    torch.set_num_threads(comparison.threads)
    cv2.setNumThreads(comparison.threads)
    work = _Work(comparison, places, say, on_step)
    failed = dict[str, str]()
    for number, name in enumerate(names, 1):
        say(f"[{number}/{len(names)}] {name}")
        bad = sorted(comparison.rows[name].needs() & failed.keys())
        try:
            if bad:
                raise InputError(f"it needs {bad[0]}, which failed")
            work.do(name)
        except Interrupted:
            raise
        except Exception as error:
            # Whatever is wrong with one row must not cost the others their night.
            failed[name] = str(error) or type(error).__name__
            say(f"{name} failed: {failed[name]}")
    work.show_references()
    report = write_report(comparison, places, counts)
    if failed:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in failed.items())
        raise StreamcolorError(f"{len(failed)} of {len(names)} rows failed: {reasons}; the others are in {report}")
    return report


def write_report(comparison: Comparison, places: Places, counts: Counts) -> Path:
    """``results.csv``, ``RESULTS.md`` and ``RESULTS.png`` of all rows that are done."""
    entries = {}
    for name in comparison.rows:
        file = places.row(name) / "scores.json"
        if file.exists():
            entries[name] = Entry(**json.loads(file.read_text(encoding="utf-8"))["entry"])
    folders = {"reference": places.output / "data" / "shown"}
    folders |= {name: places.row(name) / "pictures" for name in entries if comparison.rows[name].shown}
    return write_results(comparison, entries, counts, places.output, folders)


class _Work:
    """Rows are done one after the other; held-back pictures are read once."""

    def __init__(self, comparison: Comparison, places: Places, say: Say, on_step: OnStep | None) -> None:
        self.comparison = comparison
        self.places = places
        self.data = places.output / "data"
        self.say = say
        self.on_step = on_step
        self.lpips = find_lpips(places.device)

    @cached_property
    def targets(self) -> list[Target]:
        return targets(self.data, self.comparison.data, self.comparison.size, self.comparison.seed)

    @cached_property
    def clips(self) -> list[Clip]:
        return held_clips(self.places.root, self.data, self.comparison.data, self.comparison.size)

    @cached_property
    def pairs(self) -> list[Pair]:
        return held_pairs(self.data, self.comparison.size, self.comparison.data.targets)

    def show_references(self) -> None:
        """Keep the references of the outputs that are kept."""
        folder = self.data / "shown"
        if folder.exists():
            return
        pictures = reference_pictures(self.targets, self.clips)
        folder.mkdir()
        for label, picture in pictures.items():
            write_picture(picture, folder / f"{label}.png")

    def do(self, name: str) -> None:
        """Train and score a row, unless that is done."""
        row, folder, identity = self.comparison.rows[name], self.places.row(name), self.comparison.identity(name)
        folder.mkdir(parents=True, exist_ok=True)
        for known in ("row.json", "scores.json"):
            if (folder / known).exists() and _read(folder / known)["identity"] != identity:
                raise InputError(f"{folder} was made with other settings: remove it, or name another --output")
        if (folder / "scores.json").exists():
            return
        if row.trained:
            self._train(name, row, folder, identity)
        self._score(name, row, folder, identity)

    def _train(self, name: str, row: Row, folder: Path, identity: str) -> None:
        state = folder / "row.json"
        if not state.exists():
            steps, of_step = self._budget(name, row)
            _write(state, {"identity": identity, "steps": steps, "step_seconds": of_step, "trained": False})
        known = _read(state)
        if known["trained"]:
            return
        self.say(f"{name}: {known['steps']} steps of {known['step_seconds']:.3g} s")
        run = folder / "run"
        started = any(run.rglob("last.pt"))
        recipe = self._recipe(name, run, self._folder(row), int(known["steps"]))
        family_of(row.model).train(recipe, resume=started, on_step=self.on_step)
        _write(state, known | {"trained": True})

    def _recipe(self, name: str, run: Path, data: Path, steps: int) -> Any:
        comparison, row = self.comparison, self.comparison.rows[name]
        loop = LoopRecipe(
            run,
            steps=steps,
            seed=comparison.seed,
            threads=comparison.threads,
            accelerator=self.places.device.partition(":")[0],
            validate_every=UNBOUNDED,
        )
        start = {key: self.places.run(path) for key, path in row.start.items()}
        return recipe_of(comparison, name, loop, data, steps=steps, start=start)

    def _folder(self, row: Row) -> Path:
        folder = self.data / "train"
        return folder if row.data == "all" else folder / row.data

    def _budget(self, name: str, row: Row) -> tuple[int, float]:
        """Steps of a row (of either stage where there are two) and the seconds that one takes (in all stages)."""
        if row.steps_of is not None:
            lent = _read(self.places.row(row.steps_of) / "row.json")
            return max(round(lent["steps"] * row.share), 1), float(lent["step_seconds"])
        probe = self.data / "probe"
        source = probe if any(probe.iterdir()) else self._folder(row)
        clock = time.process_time if self.places.device == "cpu" else time.perf_counter
        with tempfile.TemporaryDirectory() as scratch:
            recipe = self._recipe(name, Path(scratch), source, PROBED + 1)
            seconds = step_seconds(lambda on_step: family_of(row.model).train(recipe, on_step=on_step), clock)
        return max(int(self.comparison.seconds * row.share / seconds), 1), seconds

    def _score(self, name: str, row: Row, folder: Path, identity: str) -> None:
        self.say(f"{name}: scoring")
        lender = row.weights or name
        weights = self.places.run(lender)
        recipe = None
        if row.settings is not None:
            recipe = self._recipe(name, folder / "run", self.data / "train", 1)
        found: dict[str, dict[str, Figures]] = {}
        pictures: dict[str, Bytes] = {}
        if row.model in BUILT_IN or find(row.model).kind == "colorizer":
            subject = self._subject(name, row, weights, recipe)
            for scores in (
                score_targets(subject, self.targets if "stills" in row.sets else (), self.lpips),
                score_clips(
                    subject, self.clips if "film" in row.sets else (), self.comparison.data.distances, self.lpips
                ),
            ):
                found |= scores.sets
                pictures |= scores.pictures
        if row.trained:
            found[OWN] = dict(own_figures(recipe, weights, self.pairs))
        (folder / "pictures").mkdir(exist_ok=True)
        for label, picture in pictures.items():
            write_picture(picture, folder / "pictures" / f"{label}.png")
        entry = Entry(**self._facts(name, row, lender), sets={key: value for key, value in found.items() if value})
        _write(folder / "scores.json", {"identity": identity, "entry": asdict(entry)})

    def _subject(self, name: str, row: Row, weights: Path, recipe: Any) -> Subject:
        if row.model in BUILT_IN:
            return Subject(name, None, cheats=row.model == "truth")
        colorizer: Colorizer
        if isinstance(recipe, StylizationRecipe):
            # Its switches are not in the weights.
            colorizer = Stylization(weights, self.places.device, stabilize=False, switches=recipe.switches())
        else:
            own = weights if row.learned else None
            colorizer = create(row.model, weights=own, device=self.places.device, stabilize=False)
        reference = getattr(recipe, "reference", "pair")
        return Subject(name, colorizer, cheats=reference == "cheat", guided=reference != "none")

    def _facts(self, name: str, row: Row, lender: str) -> dict[str, Any]:
        """What the table says of a row beside its scores."""
        facts: dict[str, Any] = {"row": name, "model": row.model, "note": row.note}
        if row.model in BUILT_IN:
            return facts
        model = find(row.model)
        facts |= {"references": model.references, "parameters": model.parameters}
        if not row.learned:
            return facts | {"trained_parameters": model.parameters}
        card = yaml.safe_load((self.places.row(lender) / "run" / "card.yaml").read_text(encoding="utf-8"))
        known = _read(self.places.row(lender) / "row.json")
        lenders = {key: f"row {path}" for key, path in self.comparison.rows[lender].start.items()}
        pretrained = {part: value if value == "none" else value[:12] for part, value in card["pretrained"].items()}
        return facts | {
            "trained_parameters": card["parameters"],
            "steps": known["steps"],
            "step_seconds": known["step_seconds"],
            "pictures": card["data"].get("train"),
            "batch": card["recipe"].get("batch"),
            "pretrained": pretrained | lenders,
        }


def _read(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: remove {path.parent} to do this row anew") from error
    return values


def _write(path: Path, values: dict[str, Any]) -> None:
    with replaced(path) as part:
        part.write_text(json.dumps(values), encoding="utf-8")

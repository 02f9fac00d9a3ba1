"""From what the user asked for to the stages of a run: which steps there are, and the film as it arrives at each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeAlias

from streamcolor.colorizers.contract import Colorizer
from streamcolor.colorizers.registry import choose_device, create
from streamcolor.errors import CallError
from streamcolor.film.references import ReferencePicture, load_references
from streamcolor.frame import Frame
from streamcolor.media.filters import filtered_film, filtered_frame
from streamcolor.media.info import FilmInfo
from streamcolor.media.lavfi import FilterCall, parse_chain, parse_options
from streamcolor.media.pictures import chroma_shape, own_chroma, picture_of, planar, whole_picture
from streamcolor.media.reader import Reader
from streamcolor.media.sequence import SequenceReader
from streamcolor.media.streams import Packet
from streamcolor.pipeline.chain import Coloring, Filtering, Stage
from streamcolor.pipeline.node import NO_MODEL, NODE_OPTIONS, Node, read_options
from streamcolor.pipeline.painter import Planes

_PSEUDO_FILTER = "streamcolor"

Filters: TypeAlias = tuple[FilterCall, ...]
Step: TypeAlias = "Node | Filters"


def read_steps(text: str | None, node: Node) -> list[Step]:
    """The steps of ``--vf``, in which ``streamcolor`` has the options of ``node`` where it says nothing else.

    Without text, ``node`` alone. Raises CallError.
    """
    if text is None:
        return [node]
    steps: list[Step] = []
    for call in parse_chain(text):
        if call.name == _PSEUDO_FILTER:
            told = read_options(parse_options(call.arguments or ""), NODE_OPTIONS, _PSEUDO_FILTER)
            steps.append(replace(node, **told))
        elif steps and isinstance(steps[-1], tuple):
            steps[-1] = (*steps[-1], call)
        else:
            steps.append((call,))
    if not any(isinstance(step, Node) for step in steps):
        raise CallError(f"--vf {text} does not say where to color: put {_PSEUDO_FILTER} among the filters")
    return steps


def colorizers_of(steps: Sequence[Step]) -> dict[Node, Colorizer | None]:
    """A colorizer for each step that colors; None for those without a model. Raises as ``create`` does."""
    found: dict[Node, Colorizer | None] = {}
    for step in steps:
        if isinstance(step, Node):
            device = choose_device(step.device)
            options: Any = {"precision": step.precision, "stabilize": step.stabilize}
            found[step] = (
                None if step.model == NO_MODEL else create(step.model, weights=step.weights, device=device, **options)
            )
    return found


def needs_pictures(steps: Sequence[Step]) -> bool:
    """True when the chroma of the film itself is wanted."""
    return any(not isinstance(step, Node) or step.blends for step in steps)


@dataclass(frozen=True, slots=True)
class _Place:
    """A step, the film as it arrives there and as the step leaves it, and the step's references."""

    step: Step
    film: FilmInfo
    after: FilmInfo
    references: Sequence[ReferencePicture]


class Layout:
    """The steps laid out for one film. Raises CallError for filters that do not fit, InputError for references.

    items: frames and packets of the film; all of them, although filters have been tried with the first frame.
    film: as it arrives at the writer.
    """

    def __init__(self, steps: Sequence[Step], reader: Reader | SequenceReader) -> None:
        self.items: Iterable[Frame | Packet] = reader
        picture = None
        if any(not isinstance(step, Node) for step in steps):
            first, self.items = _peeked(reader)
            picture = whole_picture(first)
        film = reader.info
        self._places: list[_Place] = []
        for step in steps:
            if isinstance(step, Node):
                after = _colored(film)
                if picture is not None:
                    frame = filtered_frame(picture, 0, film)
                    chroma = own_chroma(frame, chroma_shape(after.height, after.width, after.subsampling), after.depth)
                    picture = picture_of(frame, chroma, after.pixel_format)
            else:
                assert picture is not None, "filters are tried with a picture"
                after, picture = filtered_film(step, film, picture)
            self._places.append(_Place(step, film, after, _references(step, film)))
            film = after
        last = self._places[-1]
        # A writer that gets chroma from us chooses its layout itself.
        self.film = last.film if isinstance(last.step, Node) else last.after

    def stages(self, colorizers: Mapping[Node, Colorizer | None], planes: Planes) -> list[Stage]:
        """The stages between decoding and encoding. planes: what the writer wants of the chroma."""
        stages: list[Stage] = []
        for place in self._places:
            film, after = place.film, place.after
            if isinstance(place.step, Node):
                inner = Planes(chroma_shape(after.height, after.width, after.subsampling), after.depth)
                wanted = planes if place is self._places[-1] else inner
                colorizer = colorizers[place.step]
                stages.append(Coloring(place.step, film, after, colorizer, place.references, wanted))
            else:
                stages.append(Filtering(place.step, film, after))
        return stages


def _peeked(reader: Reader | SequenceReader) -> tuple[Frame, Iterator[Frame | Packet]]:
    """The first frame, and all items nevertheless."""
    items: Iterator[Frame | Packet] = iter(reader)
    ahead: list[Frame | Packet] = []
    for item in items:
        ahead.append(item)
        if isinstance(item, Frame):
            return item, chain(ahead, items)
    raise AssertionError("readers refuse a film without pictures")


def _colored(film: FilmInfo) -> FilmInfo:
    """A film whose pictures have got chroma planes: gray becomes 4:2:0, R'G'B' becomes 4:4:4."""
    subsampling = "420" if film.subsampling == "400" else film.subsampling
    return replace(film, subsampling=subsampling, rgb=False, pixel_format=planar(subsampling, film.depth))


def _references(step: Step, film: FilmInfo) -> list[ReferencePicture]:
    if not isinstance(step, Node):
        return []
    size = {"width": film.width, "height": film.height}
    return load_references(step.references, rate=film.rate, sample_aspect=film.sample_aspect, fit=step.fit, **size)

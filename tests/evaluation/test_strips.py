"""Contact sheets hold what they say."""

from __future__ import annotations

import numpy as np
import pytest

from streamcolor.evaluation.comparison import Pair
from streamcolor.evaluation.metrics import Picture
from streamcolor.evaluation.strips import COLUMN_WIDTH, HEADER_HEIGHT, ContactSheet


def flat(level: int, red: int = 0) -> Picture:
    picture = np.full((30, 60, 3), level, np.uint8)
    picture[..., 0] += red
    return picture


def filled(count: int, worst: int) -> Picture:
    """A film whose frame n has the level 40 + n, with a red output in the worst frame only."""
    sheet = ContactSheet(count)
    for n in range(count):
        truth = flat(40 + n)
        output = flat(40 + n, 100) if n == worst else truth
        pair = Pair(n, truth, output, truth, truth[..., 0], truth[..., 0], n > 0)
        sheet.add(pair, 20.0 if n == worst else 40.0 if n else 10.0)
    return sheet.picture()


def cells(sheet: Picture) -> np.ndarray:
    """(4, columns, 3): the color in the middle of every picture."""
    height = (sheet.shape[0] - HEADER_HEIGHT) // 4
    middles = [HEADER_HEIGHT + row * height + height // 2 for row in range(4)]
    return sheet[middles][:, COLUMN_WIDTH // 2 :: COLUMN_WIDTH].astype(int)


@pytest.mark.parametrize(("worst", "numbers"), [(60, [0, 20, 40, 60, 80, 100]), (47, [0, 20, 47, 60, 80, 100])])
def test_six_frames_and_the_worst_among_them(worst: int, numbers: list[int]) -> None:
    seen = cells(filled(101, worst))
    levels = [40 + n for n in numbers]
    assert seen[0, :, 1].tolist() == seen[1, :, 1].tolist() == levels
    place = numbers.index(worst)
    assert seen[2, place, 0] == levels[place] + 100 and (np.ptp(np.delete(seen[2], place, 0), -1) == 0).all()
    # The error is hot where the output is wrong, black elsewhere.
    assert seen[3, place].max() > 100 and np.delete(seen[3], place, 0).max() < 10


@pytest.mark.parametrize("worst", [1, 99, 100])
def test_the_first_and_the_last_frame_stay(worst: int) -> None:
    seen = cells(filled(101, worst))
    assert seen.shape[1] == 6
    assert seen[0, [0, -1], 1].tolist() == [40, 140] and 40 + worst in seen[0, :, 1]


@pytest.mark.parametrize(("count", "columns"), [(2, 2), (3, 3), (6, 6)])
def test_short_films_have_fewer_columns(count: int, columns: int) -> None:
    assert filled(count, count - 1).shape[1] == columns * COLUMN_WIDTH
    assert cells(filled(count, 1))[2, 1, 0] == 141


def test_headers_say_which_frame() -> None:
    sheet = filled(101, 47)
    header = sheet[:HEADER_HEIGHT].reshape(HEADER_HEIGHT, 6, COLUMN_WIDTH, 3)
    assert (header.max((0, 2, 3)) > 200).all()
    assert len({header[:, n].tobytes() for n in range(6)}) == 6

"""Colors the sample film from Python: ``python samples/python_api.py [FILM [REFERENCE...]]`` writes FILM.color.mp4."""

from __future__ import annotations

import sys
from pathlib import Path

from streamcolor import RunOptions, StreamcolorError, run

SAMPLES = Path(__file__).parent


def main(arguments: list[str]) -> int:
    film = Path(arguments[0]) if arguments else SAMPLES / "film.mp4"
    references = arguments[1:] if arguments else [SAMPLES / "keyframes"]
    options = RunOptions(film=film, references=references, output=film.with_suffix(".color.mp4"), overwrite=True)
    try:
        report = run(options)
    except StreamcolorError as error:  # its text is one sentence that says what to do
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{report.output}: {report.frames} frames in {report.seconds:.1f} s")
    if report.suggestions:
        print("A keyframe would help most at frame", ", ".join(map(str, report.suggestions)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""One HTML file with all of an evaluation: tables, plots and contact sheets. It opens without a network.

No script and nothing outside the file: plots are inline SVG, pictures are data, and its own policy forbids the rest.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

import cv2

from streamcolor.evaluation.comparison import ClipScore
from streamcolor.evaluation.curves import psnr_by_distance, worst_frames
from streamcolor.evaluation.metrics import Picture
from streamcolor.evaluation.plots import Plot, Series, svg
from streamcolor.evaluation.report import COLUMNS, Results, figure, mean_of, worst_words
from streamcolor.evaluation.strips import LARGEST_ERROR

JPEG_QUALITY = 90
MEANINGS = {
    "grey": "psnr of the uncolored film, dB: the floor",
    "psnr": "mean over frames of the peak signal-to-noise ratio, dB; references left out",
    "ssim": "structural similarity, 1 for equal",
    "de00": "CIEDE2000 color difference, 0 for equal; about 1 is just visible",
    "cdc": "change of the color histograms in time, nats x 1000; to be near cdc_gt",
    "cdc_gt": "the same of the true clip",
    "colour": "colorfulness over that of the truth; to be near 1",
    "his": "intersection of the histograms of a*, b* with the truth's, 1 for equal",
    "end": "psnr of the last eighth of the clip, dB",
    "luma": "largest difference of the Y plane; the promise is 0",
    "fps": "frames per second of coloring, start-up included",
    "warp": "warp error x 1000 (Lai et al. 2018), at half size; to be read beside warp_gt and colour",
    "warp_gt": "the same of the true clip",
    "flicker": "change of a*, b* from frame to frame where the true clip stands still (n/a: nowhere), at half size",
    "flicker_gt": "the same of the true clip",
    "his_ref": "his with the reference instead of the truth (n/a: no reference); to be read beside his_ref_gt",
    "his_ref_gt": "the same of the true clip",
    "grey_ab": "psnr_ab of the uncolored film, dB: the floor",
    "psnr_ab": "psnr of a*, b* alone, of a range of 220, dB",
    "ssim_ab": "structural similarity of a*, b* alone, of a range of 220, 1 for equal",
    "cdc_ab": "change of the histograms of a*, b* in time, nats x 1000; to be near cdc_ab_gt",
    "cdc_ab_gt": "the same of the true clip",
    "lpips_alex": "LPIPS 0.1 on AlexNet, 0 for equal; every eighth frame",
    "lpips_vgg": "LPIPS 0.1 on VGG-16, 0 for equal; every eighth frame",
    "lpips_squeeze": "LPIPS 0.1 on SqueezeNet 1.1, 0 for equal; every eighth frame",
    "aesthetics": "mean vote from 1 to 10 that NIMA on VGG-16 expects; every eighth frame",
    "aesthetics_gt": "the same of the true clip",
    "fid": "Fréchet Inception distance of every eighth frame of all clips together; falls with their number",
}
STYLE = """
:root { --back: #fff; --text: #1c2127; --faint: #d6dae0; --thin: #9aa4b1; --main: #0b62c4; --bad: #c22f1f; }
@media (prefers-color-scheme: dark) {
  :root { --back: #15181c; --text: #e4e8ec; --faint: #363c44; --thin: #6f7985; --main: #63a8ff; --bad: #ff7a68; }
}
body { background: var(--back); color: var(--text); font: 15px/1.45 system-ui, sans-serif; margin: 2em auto;
  max-width: 1640px; padding: 0 1.2em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2.2em; border-top: 1px solid var(--faint);
  padding-top: 1em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.92em; }
th, td { padding: 0.15em 0.7em; text-align: right; border-bottom: 1px solid var(--faint); }
th:first-child, td:first-child, td.words { text-align: left; } tr.mean td { font-weight: 600; }
th[title] { text-decoration: underline dotted; cursor: help; }
.wide { overflow-x: auto; } img { max-width: 100%; height: auto; display: block; margin-top: 0.6em; }
svg { width: 100%; max-width: 900px; height: auto; font-size: 12px; } svg text { fill: var(--text); }
.grid { stroke: var(--faint); fill: none; } .tick { stroke: var(--thin); stroke-dasharray: 3 3; fill: none; }
.line { fill: none; stroke-width: 2; stroke: var(--main); } .line.thin { stroke: var(--thin); stroke-width: 1; }
.line.floor { stroke: var(--thin); stroke-dasharray: 5 4; } circle.mark { fill: var(--bad); }
svg text.mark { fill: var(--bad); } svg text.main { fill: var(--main); font-weight: 600; }
dt { font-weight: 600; float: left; clear: left; width: 8em; } dd { margin-left: 8.5em; }
"""


def jpeg(sheet: Picture) -> bytes:
    """A contact sheet for the page: JPEG of quality 90."""
    return bytes(cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())


def page(results: Results, sheets: Mapping[str, bytes]) -> str:
    """The report. sheets: by clip, JPEGs of the contact sheets."""
    mean = mean_of(results.scores)
    title = f"{results.options.get('model', 'film')}: {mean['psnr']:.2f} dB over {len(results.scores)} clips"
    ran = ", ".join(f"{name} {value}" for name, value in results.options.items() if value not in (None, 0, ""))
    body = [
        f"<h1>{escape(title)}</h1><p>{escape(ran)}; the uncolored film has {mean['grey']:.2f} dB.</p>",
        _table(results),
        *(f"<p>{escape(sentence)}.</p>" for sentence in results.missing.values()),
        _distance_plot(results.scores),
        *(_clip(score, sheets.get(score.clip)) for score in results.scores),
        _meanings([*COLUMNS, *results.columns]),
    ]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _table(results: Results) -> str:
    names = [*COLUMNS, *results.columns]
    heads = "".join(f'<th title="{escape(MEANINGS[name])}">{name}</th>' for name in names)
    rows = []
    for score in results.scores:
        measures = results.measures(score)
        cells = [figure(name, getattr(score, name)) for name in COLUMNS]
        cells += [figure(name, measures[name]) if name in measures else "" for name in results.columns]
        link = f'<a href="#{escape(score.clip)}">{escape(score.clip)}</a>'
        rows.append(f'<tr><td>{link}</td>{_cells(cells)}<td class="words">{worst_words(score)}</td></tr>')
    mean, measures = mean_of(results.scores), results.mean_measures()
    cells = [figure(name, mean[name]) for name in COLUMNS]
    cells += [figure(name, measures[name]) for name in results.columns]
    rows.append(f'<tr class="mean"><td>mean</td>{_cells(cells)}<td></td></tr>')
    head = f"<tr><th>clip</th>{heads}<th>worst frames: psnr</th></tr>"
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _cells(cells: Sequence[str]) -> str:
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _distance_plot(scores: Sequence[ClipScore]) -> str:
    mean = psnr_by_distance(scores)
    if not mean.distance:
        return "<p>No frame of the clips was a reference, so there is no distance from one to plot.</p>"
    series = []
    for score in scores:
        curve = psnr_by_distance([score])
        series.append(Series(score.clip, list(zip(curve.distance, curve.psnr, strict=True)), "thin"))
    # Where a clip ends, the mean over the others jumps: it is drawn as far as all of them reach.
    common = [(d, p) for d, p, n in zip(mean.distance, mean.psnr, mean.clips, strict=True) if n == max(mean.clips)]
    series.append(Series("mean", common, "main", labelled=True))
    plot = svg(Plot("frames from the nearest reference", "psnr, dB", series))
    return f"<h2>psnr over the distance from the reference</h2><p>Each clip thin, their mean bold.</p>{plot}"


def _clip(score: ClipScore, sheet: bytes | None) -> str:
    worst = worst_frames(score)
    # A reference comes out as it went in, far above all others: the scale is for these.
    points = [(n, p) for n, p in enumerate(score.psnr_frames) if n not in score.reference_frames]
    floor = [(points[0][0], score.grey), (points[-1][0], score.grey)]
    series = [Series("uncolored", floor, "floor", labelled=True), Series("psnr", points, "main", labelled=True)]
    marks = [(w.number, w.psnr, str(w.number)) for w in worst]
    references = [(float(n), f"reference, frame {n}") for n in score.reference_frames]
    parts = [
        f'<h2 id="{escape(score.clip)}">{escape(score.clip)}</h2>',
        f"<p>psnr {score.psnr:.2f} dB (uncolored {score.grey:.2f}), worst frames {worst_words(score)}.</p>",
        svg(Plot("frame", "psnr, dB", series, marks, references)),
    ]
    if sheet is not None:
        rows = f"truth, input, result, and their distance in a*, b* (black 0, yellow {LARGEST_ERROR:g} and more)"
        data = base64.b64encode(sheet).decode("ascii")
        name = escape(score.clip)
        parts.append(f'<img alt="{name}: {rows}" title="{rows}" src="data:image/jpeg;base64,{data}">')
    return "".join(parts)


def _meanings(names: Sequence[str]) -> str:
    items = "".join(f"<dt>{name}</dt><dd>{escape(MEANINGS[name])}</dd>" for name in names)
    return f"<h2>What the columns say</h2><dl>{items}</dl>"

"""The demo's report: one HTML page that needs no other file."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from xdistill.pipeline.demo.charts import line_chart, scatter_chart
from xdistill.pipeline.demo.page_departures import departures
from xdistill.pipeline.demo.page_style import STYLE
from xdistill.pipeline.demo.page_text import INTRODUCTION, JUMP, ON_KITTI, PAIRED
from xdistill.pipeline.demo.pictures import Example, legend
from xdistill.pipeline.demo.stages import BASELINE, DISTILLED, RUNS, TRIVIAL
from xdistill.pipeline.demo.summary import ERRORS, MUST_BEAT

METRIC_NAMES = {
    "abs_rel": "Abs Rel", "sq_rel": "Sq Rel", "rmse": "RMSE", "rmse_log": "RMSE log",
    "d1": "δ &lt; 1.25", "d2": "δ &lt; 1.25²", "d3": "δ &lt; 1.25³",
}  # fmt: skip
ROW_NAMES = {
    "constant": "constant depth",
    "row-prior": "one depth for each image row",
    BASELINE: "baseline (self-supervised)",
    DISTILLED: "distilled (+ depth-to-segmentation)",
}

Summary = Mapping[str, Any]


def page(summary: Summary, examples: Sequence[Example]) -> str:
    """The whole page.

    Args:
        summary: Content of report.json.
        examples: Pictures of some test frames.
    """
    sections = (
        _header(summary),
        _section("Depth on drives that no network saw", _cards(summary) + _table(summary)),
        _section("Pictures", _pictures(examples)),
        _section("Training", _curves(summary)),
        _section("Learned motion of the camera", _poses(summary)),
        _section("What departs from the papers", _departures(summary)),
        _section("The same on real KITTI", f"<pre>{escape(ON_KITTI)}</pre>"),
        _section("How this page was made", _provenance(summary)),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>xdistill demo</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _departures(summary: Summary) -> str:
    items = departures(summary["recipe"], teacher=summary["settings"]["teacher"])
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def _header(summary: Summary) -> str:
    settings = summary["settings"]
    facts = (
        f"{settings['drives']} drives of {settings['frames']} frames at {settings['size']}, "
        f"recipe {settings['recipe']}, teacher {settings['teacher']}, "
        f"{settings['steps']} optimiser steps, seed {settings['seed']}, "
        f"{summary['test_frames']} test frames"
    )
    return (
        f"<header><h1>xdistill</h1><p class='lead'>{escape(INTRODUCTION)}</p>"
        f"<p class='facts'>{escape(facts)}</p></header>"
    )


def _cards(summary: Summary) -> str:
    """The numbers to look at first."""
    metrics, change = summary["metrics"], summary["difference"]["abs_rel"]
    cards = [
        ("baseline abs rel", f"{metrics[BASELINE]['abs_rel']:.3f}", ""),
        ("distilled abs rel", f"{metrics[DISTILLED]['abs_rel']:.3f}", ""),
        ("distilled against baseline", f"{change['percent']:+.1f} %", _colour(change["better"])),
    ]
    for name in TRIVIAL:
        gain = summary["gain_over_trivial"][name]
        words = f"baseline against {ROW_NAMES[name]}"
        cards.append((words, f"{-100 * gain:+.0f} %", _colour(gain >= MUST_BEAT)))
    return (
        "<div class='cards'>"
        + "".join(f"<div><b class='{c}'>{v}</b><span>{escape(n)}</span></div>" for n, v, c in cards)
        + "</div>"
    )


def _colour(good: bool) -> str:
    return "good" if good else "bad"


def _table(summary: Summary) -> str:
    heads = "".join(
        f"<th>{name} {'↓' if key in ERRORS else '↑'}</th>" for key, name in METRIC_NAMES.items()
    )
    rows = "".join(
        f"<tr class='{name}'><td>{escape(ROW_NAMES[name])}</td>"
        + "".join(f"<td>{summary['metrics'][name][key]:.3f}</td>" for key in METRIC_NAMES)
        + "</tr>"
        for name in (*TRIVIAL, *RUNS)
    )
    changes = "".join(
        f"<td class='{_colour(change['better'])}'>{change['absolute']:+.4f}"
        f"<small>{change['percent']:+.1f} %</small></td>"
        for change in (summary["difference"][key] for key in METRIC_NAMES)
    )
    return (
        f"<div class='scroll'><table><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}"
        f"<tr class='change'><td>distilled minus baseline</td>{changes}</tr></tbody></table></div>"
        f"<p class='note'>{escape(PAIRED)}</p>"
    )


def _pictures(examples: Sequence[Example]) -> str:
    parts = []
    for example in examples:
        panels = "".join(
            f'<figure><img src="{address}" alt="{escape(caption)} of {escape(example.frame)}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
            for caption, address in example.panels.items()
        )
        parts.append(f"<h3>{escape(example.frame)}</h3><div class='panels'>{panels}</div>")
    return (
        "".join(parts)
        + "<p class='note'>Depth: bright is near, dark is far, on a logarithmic scale; black has "
        "no depth. Predictions have the true median, as in the scores.</p>"
        + _legend("classes")
        + _legend("groups")
    )


def _legend(which: str) -> str:
    items = "".join(
        f"<span><i style='background:{colour}'></i>{escape(name)}</span>"
        for name, colour in legend(which)
    )
    return f"<div class='legend'><b>{which}</b>{items}</div>"


def _curves(summary: Summary) -> str:
    curves = summary["curves"]

    def series(key: str, names: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
        return {n: list(zip(curves[n]["step"], curves[n][key], strict=True)) for n in names}

    photometric = line_chart(
        series("loss_photometric", RUNS), x_name="step", y_name="photometric loss"
    )
    d2s = line_chart(
        {"distilled": series("loss_d2s", (DISTILLED,))[DISTILLED]},
        x_name="step", y_name="cross-entropy of D2S",
    )  # fmt: skip
    # Where the auto-mask starts at once or never, nothing jumps.
    jumps = 0 < summary["recipe"]["automask_start"] < 1
    return f"<div class='charts'><div>{photometric}</div><div>{d2s}</div></div>" + (
        f"<p class='note'>{escape(JUMP)}</p>" if jumps else ""
    )


def _poses(summary: Summary) -> str:
    names = ("", "correlation", "mean error", "error of the trivial motion", "spread / true")
    heads = "".join(f"<th>{name}</th>" for name in names)
    rows, notes = "", ""
    for run in RUNS:
        poses = summary["poses"][run]
        for name, axis in poses["axes"].items():
            rows += _pose_row(f"{run}: {name} ({axis['unit']})", axis)
        notes += "".join(f"<p class='failure'>{run}: {escape(t)}</p>" for t in poses["failures"])
    yaw, pitch = (
        scatter_chart(
            {run: _finite(summary["poses"][run]["axes"][axis]["pairs"]) for run in RUNS},
            x_name=f"recorded {axis}, degrees a frame",
            y_name=f"learned {axis}, degrees a frame",
        )
        for axis in ("yaw", "pitch")
    )
    training = line_chart(
        summary["validation_yaw"], x_name="step", y_name="correlation of yaw, validation drives"
    )
    charts = "".join(f"<div>{chart}</div>" for chart in (training, yaw, pitch))
    return (
        f"{notes}<div class='charts'>{charts}</div>"
        f"<div class='scroll'><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        "</div>"
        "<p class='note'>Trivial motion: no yaw, no pitch, and one speed for all. Speed is learned "
        "up to a scale, which is removed by the ratio of the medians.</p>"
    )


def _finite(pairs: Sequence[tuple[float | None, float | None]]) -> list[tuple[float, float]]:
    """The pairs that can be drawn; a motion that is no number is told as a failure."""
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _pose_row(name: str, axis: Mapping[str, Any]) -> str:
    cells = (
        _figure(axis["correlation"], digits=2),
        _figure(axis["error"], digits=3),
        _figure(axis["trivial_error"], digits=3),
        _figure(axis["spread_ratio"], digits=2),
    )
    return f"<tr><td>{escape(name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _figure(value: float | None, *, digits: int) -> str:
    """A figure as the tables show it; none where there is none, as of motions that are NaN."""
    return "none" if value is None else f"{value:.{digits}f}"


def _provenance(summary: Summary) -> str:
    taken = "".join(
        f"<tr><td>{escape(name)}</td><td>{seconds:.0f} s</td></tr>"
        for name, seconds in summary["seconds"].items()
    )
    total = sum(summary["seconds"].values())
    machine = summary["machine"]
    lines = "\n".join(summary["commands"])
    return (
        f"<pre>{escape(lines)}</pre><table class='narrow'><tbody>{taken}<tr class='change'>"
        f"<td>together</td><td>{total:.0f} s</td></tr></tbody></table>"
        f"<p class='note'>xdistill {escape(summary['version'])} on {machine['cores']} cores, "
        f"{escape(machine['system'])}. The same numbers are in report.json.</p>"
    )

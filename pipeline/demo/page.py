"""The demo's report page: charts and values for the template ``page.html``."""

from collections.abc import Mapping, Sequence
from typing import Any

from xdistill.pipeline.demo.pictures import Example, legends
from xdistill.pipeline.demo.stages import BASELINE, DISTILLED, RUNS, TRIVIAL
from xdistill.pipeline.demo.summary import ERRORS, MUST_BEAT
from xdistill.train.page.charts import Points, line_chart, scatter_chart
from xdistill.train.page.pictures import depth_bar
from xdistill.train.page.template import render

METRIC_NAMES = {
    "abs_rel": "Abs Rel", "sq_rel": "Sq Rel", "rmse": "RMSE", "rmse_log": "RMSE log",
    "d1": "δ < 1.25", "d2": "δ < 1.25²", "d3": "δ < 1.25³",
}  # fmt: skip
ROW_NAMES = {
    "constant": "constant depth",
    "row-prior": "one depth per image row",
    BASELINE: "baseline (self-supervised)",
    DISTILLED: "distilled (baseline + D2S)",
}
KITTI_COMMANDS = (
    "xd-pipeline segment --data kitti --split kitti-eigen-zhou-train --teacher ocrnet-hr48 "
    "--device cuda",
    "xd-pipeline regroup --scheme 4",
    "xd-train --data kitti --recipe monodepth2-rn50 --out runs/baseline",
    "xd-train --data kitti --recipe xdistill-rn50 --out runs/distilled",
    "xd-eval --data kitti --run runs/baseline",
    "xd-eval --data kitti --run runs/distilled",
)
COLOURS = {BASELINE: "#7c8ba1", DISTILLED: "#e8590c"}

Summary = Mapping[str, Any]


def page(summary: Summary, examples: Sequence[Example]) -> str:
    """The whole page.

    Args:
        summary: Content of report.json.
        examples: Pictures of some test frames.
    """
    return render(
        "pipeline/demo/page.html",
        **summary,
        metric_names=METRIC_NAMES,
        errors=ERRORS,
        row_names=ROW_NAMES,
        must_beat=MUST_BEAT,
        trivial=TRIVIAL,
        runs=RUNS,
        kitti_commands=KITTI_COMMANDS,
        examples=examples,
        bar=depth_bar(),
        legends=legends(),
        training_charts=_training_charts(summary),
        motion_charts=[_motion_chart(summary["poses"], axis) for axis in ("yaw", "pitch", "speed")],
    )


def _training_charts(summary: Summary) -> list[str]:
    curves = summary["curves"]

    def loss(key: str, runs: Sequence[str], *, y_name: str) -> str:
        series = {
            run: list(zip(curves[run]["step"], curves[run][key], strict=True)) for run in runs
        }
        return line_chart(series, colours=COLOURS, x_name="optimiser step", y_name=y_name)

    yaw = line_chart(
        {run: _finite(summary["validation_yaw"][run]) for run in RUNS},
        colours=COLOURS,
        x_name="optimiser step",
        y_name="correlation of yaw, validation",
    )
    return [
        loss("loss_photometric", RUNS, y_name="photometric loss"),
        loss("loss_d2s", (DISTILLED,), y_name="cross-entropy of D2S"),
        yaw,
    ]


def _motion_chart(poses: Mapping[str, Any], axis: str) -> str:
    unit = poses[BASELINE]["axes"][axis]["unit"]
    return scatter_chart(
        {run: _finite(poses[run]["axes"][axis]["pairs"]) for run in RUNS},
        colours=COLOURS,
        x_name=f"recorded {axis} ({unit})",
        y_name=f"learned {axis} ({unit})",
    )


def _finite(pairs: Sequence[Sequence[Any]]) -> Points:
    """The pairs that can be drawn; a motion that is not a number is reported as a failure."""
    return [(float(x), float(y)) for x, y in pairs if x is not None and y is not None]

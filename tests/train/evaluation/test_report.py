"""The table of a report: our row under the published ones, with their footnotes."""

from xdistill.train.evaluation.published import Row, matching_rows
from xdistill.train.evaluation.report import format_table

OURS = Row(method="runs/mine", backbone="RN50", resolution="640x192", metrics=("0.500",) * 7)


def test_the_table_is_aligned_with_ours_last_and_footnotes() -> None:
    rows, _ = matching_rows("eigen", backbone="RN50", resolution="640x192")
    assert format_table(rows, OURS).splitlines() == [
        "method                  backbone  resolution  abs_rel  sq_rel   rmse  rmse_log     d1"
        "     d2     d3",
        "-" * 99,
        "Monodepth2              RN50      640x192       0.110   0.831  4.642     0.187  0.883"
        "  0.962  0.982",
        "Guizilini et al. † [1]  RN50      640x192       0.113   0.831  4.663     0.189  0.878"
        "  0.971  0.982",
        "Klingner et al. †       RN50      640x192       0.112   0.833  4.688     0.190  0.884"
        "  0.961  0.981",
        "X-Distill †             RN50      640x192       0.106   0.777  4.580     0.184  0.888"
        "  0.963  0.982",
        "-" * 99,
        "runs/mine               RN50      640x192       0.500   0.500  0.500     0.500  0.500"
        "  0.500  0.500",
        "",
        "† uses semantic labels",
        "[1] d2 and d3 are out of line with the other rows; d3 may be 0.983",
    ]


def test_a_table_without_footnotes_ends_with_our_row() -> None:
    rows, _ = matching_rows("eigen", backbone="RN18", resolution="1024x320")
    assert format_table(rows, OURS).splitlines()[-1].startswith("runs/mine")


def test_a_backbone_that_is_not_stated_is_a_dash() -> None:
    rows, _ = matching_rows("eigen", backbone=None, resolution="640x192")
    table = format_table(rows, OURS)
    assert "HR-Depth                -  " in table and "DONNA" in table and " NA " not in table

"""Every package's annotated shapes are checked while the tests run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from run_time_checks import modules_with_shapes

from xdistill.pipeline.labelling.score import merge
from xdistill.teachers.engines.network import confidence_levels
from xdistill.train.objective.geometry import invert_pose

ROOT = Path(__file__).parents[1]


def test_a_wrong_shape_is_refused_in_each_package() -> None:
    with pytest.raises(TypeCheckError, match="batch classes height width"):
        confidence_levels(torch.rand(2, 19))
    with pytest.raises(TypeCheckError, match="classes classes_and_ignore"):
        merge(np.zeros(3, np.int64), (0, 0, 1))
    with pytest.raises(TypeCheckError):
        invert_pose(torch.rand(4, 4))


def test_compiled_modules_are_left_as_they_are() -> None:
    modules = set(modules_with_shapes(ROOT))
    assert {"xdistill.teachers.engines.network", "xdistill.train.objective.losses"} <= modules
    compiled = {
        f"xdistill.{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}"
        for path in (ROOT / "pipeline" / "street").rglob("*.py")
        if "@compiled\n" in path.read_text()
    }
    assert compiled and not compiled & modules

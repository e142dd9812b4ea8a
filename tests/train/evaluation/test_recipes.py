import pytest

from xdistill.manifests import loader
from xdistill.manifests.errors import ManifestError
from xdistill.train.evaluation.published import published_row
from xdistill.train.evaluation.recipes import recipe_list, reproduced_rows
from xdistill.train.networks.depth import require_networks
from xdistill.train.recipe.file import load_recipe

OURS = ("X-Distill", "Monodepth2", "HR-Depth")
TABLES = ("2", "5", "6", "7", "8")


def rows_of_these_methods() -> list[str]:
    """Rows of Tables 2 and 5-8 that X-Distill, Monodepth2 or HR-Depth fills."""
    return [
        " ".join(line[key] for key in ("table", "method", "backbone", "resolution"))
        for line in loader.load_table("published", "published_results")
        if line["table"] in TABLES and line["method"].startswith(OURS)
    ]


def test_every_row_has_one_recipe() -> None:
    named = [
        row
        for name in loader.names("recipes")
        for row in loader.load("recipes", name).get("reproduces", [])
    ]
    assert sorted(named) == sorted(set(rows_of_these_methods()))


@pytest.mark.parametrize("name", loader.names("recipes"))
def test_a_recipe_is_what_its_rows_say(name: str) -> None:
    recipe = load_recipe(name)
    require_networks(recipe)
    backbones = {"RN18": "resnet18", "RN50": "resnet50", "DONNA": "timm:tf_efficientnet_lite0"}
    for row in reproduced_rows(name):
        assert f"{recipe.width}x{recipe.height}" == row.resolution
        assert recipe.encoder == backbones.get(row.backbone, "resnet18")
        assert (recipe.decoder == "hr-depth") == row.method.startswith("HR-Depth")
        assert (recipe.distillation == "d2s") == row.semantic
        assert ("DONNA" in (recipe.remark or "")) == (row.backbone == "DONNA")


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("xdistill-2-groups", "scheme", "2"),
        ("xdistill-19-groups", "scheme", "19"),
        ("xdistill-d2s-0", "d2s_layers", 0),
        ("xdistill-d2s-4", "d2s_layers", 4),
        ("xdistill-constant", "d2s_schedule", "constant"),
        ("xdistill-linear-0.0040", "d2s_weight", 0.0040),
        ("xdistill-linear-0.0045", "d2s_weight", 0.0045),
        ("xdistill-linear-0.0055", "d2s_weight", 0.0055),
        ("xdistill-linear-0.0060", "d2s_weight", 0.0060),
    ],
)
def test_an_ablation_differs_in_one_key(name: str, key: str, value: object) -> None:
    recipe, base = load_recipe(name), load_recipe("xdistill-rn50")
    differing = {k for k in base.__slots__ if getattr(recipe, k) != getattr(base, k)}
    assert differing == {"name", key} and getattr(recipe, key) == value


def test_the_list_shows_every_recipe_with_its_metrics() -> None:
    lines = recipe_list().splitlines()
    assert len(lines) == 1 + 2 * len(loader.names("recipes"))
    (line,) = (line for line in lines if line.startswith("xdistill-rn50-1024x320"))
    assert line.split() == (
        "xdistill-rn50-1024x320 2 0.102 0.698 4.439 0.180 0.895 0.965 0.983".split()
    )


def test_a_row_that_no_table_has_is_refused() -> None:
    with pytest.raises(ManifestError, match="no published table has the row '9 X-Distill'"):
        published_row("9 X-Distill")

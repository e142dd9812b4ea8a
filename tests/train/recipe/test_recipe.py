from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdistill.manifests import loader
from xdistill.manifests.errors import ManifestError
from xdistill.train.recipe.file import dump_recipe, load_recipe, load_run_recipe, override
from xdistill.train.recipe.recipe import Recipe, RecipeError


def test_shipped_recipes() -> None:
    assert set(loader.names("recipes")) >= {
        "monodepth2-rn18",
        "monodepth2-rn50",
        "xdistill-rn18",
        "xdistill-rn50",
    }


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("method", ["monodepth2", "xdistill"])
def test_recipes_of_the_papers(method: str, depth: int) -> None:
    recipe = load_recipe(f"{method}-rn{depth}")
    assert recipe.name == f"{method}-rn{depth}"
    assert recipe.size == (192, 640)
    assert recipe.encoder == recipe.pose_encoder == f"resnet{depth}"
    assert (recipe.batch_size, recipe.epochs, recipe.lr, recipe.lr_drop_epoch) == (12, 20, 1e-4, 15)
    assert (recipe.min_depth, recipe.max_depth, recipe.smoothness_weight) == (0.1, 100.0, 1e-3)
    assert recipe.distillation == ("d2s" if method == "xdistill" else "none")
    assert (recipe.scheme, recipe.d2s_layers, recipe.d2s_weight) == ("4", 2, 0.005)
    assert (recipe.d2s_schedule, recipe.d2s_input) == ("linear", "disparity")
    assert (recipe.d2s_scales, recipe.d2s_placement) == ("finest", "outside")
    assert recipe.encoder_weights == "imagenet"


def test_baseline_and_distilled_differ_in_the_distillation_alone() -> None:
    baseline, distilled = (asdict(load_recipe(n)) for n in ("monodepth2-rn50", "xdistill-rn50"))
    differing = {key for key in baseline if baseline[key] != distilled[key]}
    assert differing == {"name", "distillation"}


def test_overrides_take_the_type_of_their_key() -> None:
    recipe = load_recipe(
        "xdistill-rn18",
        overrides=["lr=3e-4", "d2s-layers=0", "deterministic=false", "lr_drop_epoch=none"],
    )
    assert (recipe.lr, recipe.d2s_layers, recipe.deterministic) == (3e-4, 0, False)
    assert recipe.lr_drop_epoch is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("widht=640", "the recipe key 'widht' is unknown\n  expected: 'width'?"),
        ("zzz=1", "expected: one of name, remark"),
        ("width=650", "width is 650, not a multiple of 32\n  expected: a multiple of 32"),
        (
            "row_prior=0.01",
            "row_prior is 0.01, not a height between 0.026 and 6.67\n  expected: a height",
        ),
        (
            "automask_start=1.5",
            "automask_start is 1.5, not a share in 0-1\n  expected: a share in 0-1",
        ),
        ("height=32", "height is 32, not at least 64\n  expected: at least 64"),
        ("width=wide", "width is 'wide', not a whole number\n  expected: a whole number"),
        ("batch_size=1.5", "expected: a whole number"),
        ("batch_size=0", "expected: at least 1"),
        ("epochs=none", "expected: a whole number"),
        ("lr=nan", "expected: a finite number"),
        ("lr=0", "expected: a positive learning rate"),
        ("deterministic=1", "expected: true or false"),
        ("d2s_layers=3", "expected: one of 0, 2, 4"),
        ("d2s_weight=-0.1", "expected: at least 0"),
        ("flip_probability=1.5", "expected: a share in 0-1"),
        ("min_depth=200", "less than max_depth 100.0"),
        ("name=a/b", "expected: a name"),
        ("width", "expected: key=value"),
        ("pose=gps", "expected: one of network, oxts"),
    ],
)
def test_bad_overrides_are_named(text: str, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("xdistill-rn18", overrides=[text])
    assert expected in str(caught.value)


def test_one_file_of_weights_fits_one_architecture() -> None:
    values = ["encoder_weights=w.pth", "pose_encoder=resnet50"]
    with pytest.raises(RecipeError, match="one file for encoder resnet18 and pose_encoder"):
        load_recipe("xdistill-rn18", overrides=values)
    assert load_recipe("xdistill-rn18", overrides=[*values, "pose=oxts"]).pose == "oxts"


def test_own_recipe_inherits(tmp_path: Path) -> None:
    own = tmp_path / "small.toml"
    own.write_text('base = "xdistill-rn50"\nwidth = 320\nlr = 1\n')
    recipe = load_recipe(str(own))
    assert (recipe.name, recipe.encoder, recipe.width) == ("small", "resnet50", 320)
    assert recipe.lr == 1.0 and isinstance(recipe.lr, float)


def test_base_may_lie_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('name = "one"\nencoder = "resnet34"\nepochs = 3\n')
    (tmp_path / "two.toml").write_text('base = "one.toml"\nepochs = 4\n')
    recipe = load_recipe(str(tmp_path / "two.toml"))
    assert (recipe.name, recipe.encoder, recipe.epochs) == ("two", "resnet34", 4)


def test_circle_of_bases_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "circle.toml"
    path.write_text(f'base = "{path}"\n')
    with pytest.raises(RecipeError, match="circular"):
        load_recipe(str(path))


def test_a_chain_of_bases_has_an_end(tmp_path: Path) -> None:
    for number in range(30):
        base = f'base = "{number + 1}.toml"' if number < 29 else ""
        (tmp_path / f"{number}.toml").write_text(f"{base}\nepochs = {number + 1}\n")
    with pytest.raises(RecipeError, match="longer than 20 recipes"):
        load_recipe(str(tmp_path / "0.toml"))
    assert load_recipe(str(tmp_path / "10.toml")).epochs == 11
    (tmp_path / "grows.toml").write_text(f'base = "../{tmp_path.name}/grows.toml"\n')
    with pytest.raises(RecipeError, match="longer than 20|circular"):
        load_recipe(str(tmp_path / "grows.toml"))


@pytest.mark.parametrize(
    "text",
    [
        "lr = 1e999",
        "lr = nan",
        "max_depth = inf",
        "lr = {a = 1}",
        "lr = 2020-01-01",
        f"lr = {'9' * 400}",
        f"lr = {'[' * 2000}{']' * 2000}",
        f"{'.'.join('a' * 2000)} = 1",
        "width = 9223372036854775776",
        "seed = 4294967296",
        "batch_size = 1000000000000",
        "num_workers = 1000000000000",
        "d2s_channels = 1000000000000",
        "schedule_steps = 1000000000000",
        'name = "a\\nb"',
        'name = "a\\u0000b"',
        'name = ".."',
        f'name = "{"a" * 300}"',
        f'scheme = ["{"a" * 300}"]',
        "base = nan",
        "base = ['monodepth2-rn18']",
        "[base]\nx = 1",
        f'base = "{"a" * 300}"',
    ],
)
def test_odd_values_are_refused_in_lines_that_fit(text: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(text + "\n")
    with pytest.raises(ManifestError) as told:
        load_recipe(str(path))
    assert len(told.value.headline) < 300


@pytest.mark.parametrize(
    "text",
    ["=", "=3", "seed=" + "9" * 400, "seed=" + "9" * 5000, "lr=\0", "width=\0", "é=1", "lr="],
)
def test_odd_overrides_are_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        load_recipe("monodepth2-rn18", overrides=[text])


def test_unknown_key_in_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('base = "xdistill-rn18"\nbatchsize = 3\n')
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path))
    assert "'batchsize'" in str(caught.value) and "'batch_size'?" in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["width = true\n", "width = [1]\n", "scheme = 4.5\n"])
def test_values_of_another_type_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match="what to do: correct (width|scheme)"):
        load_recipe(str(path))


def test_unknown_recipe_and_broken_toml(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no recipe named 'nothing'"):
        load_recipe("nothing")
    path = tmp_path / "own.toml"
    path.write_text("width = = 3")
    with pytest.raises(ManifestError, match="is not valid TOML"):
        load_recipe(str(path))


def test_paths_in_a_recipe_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("xdistill-rn18", overrides=["scheme=my.toml", "init=runs/a"])
    assert recipe.scheme == str(tmp_path / "my.toml")
    assert recipe.init == str(tmp_path / "runs" / "a")
    assert load_recipe("xdistill-rn18").scheme == "4"


@pytest.mark.slow
@given(
    width=st.integers(2, 40),
    lr=st.floats(1e-9, 1.0),
    schedule=st.none() | st.integers(1, 10**6),
    drop=st.none() | st.integers(1, 50),
    layers=st.sampled_from([0, 2, 4]),
    name=st.text(
        st.characters(min_codepoint=32, codec="utf-8", exclude_characters="/"),
        min_size=1,
        max_size=100,
    ).filter(lambda text: text not in (".", "..")),
)
def test_resolved_recipe_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    width: int,
    lr: float,
    schedule: int | None,
    drop: int | None,
    layers: int,
    name: str,
) -> None:
    recipe = Recipe(
        name=name,
        width=32 * width,
        lr=lr,
        schedule_steps=schedule,
        lr_drop_epoch=drop,
        d2s_layers=layers,  # type: ignore[arg-type]
    )
    run = tmp_path_factory.mktemp("run")
    (run / "recipe.toml").write_bytes(dump_recipe(recipe))
    assert load_run_recipe(run) == load_recipe(str(run / "recipe.toml")) == recipe


def test_a_runs_recipe_takes_no_default(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    lines = dump_recipe(Recipe(name="test", width=128)).decode().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(("width", "seed"))))
    with pytest.raises(RecipeError, match=r"lacks width, seed\n(.*\n)*.*recipe\.toml"):
        load_run_recipe(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(RecipeError, match="lacks name, .*width, "):
        load_run_recipe(tmp_path)


def test_override_of_a_resolved_recipe() -> None:
    recipe = load_recipe("xdistill-rn18")
    assert override(recipe, ["num_workers=0"]).num_workers == 0
    with pytest.raises(RecipeError, match="where: --set"):
        override(recipe, ["num_worker=0"])


def test_pose_source_is_said() -> None:
    assert "resnet18" in load_recipe("xdistill-rn18").pose_source
    recorded = load_recipe("xdistill-rn18", overrides=["pose=oxts"]).pose_source
    assert "oxts" in recorded and "metres" in recorded


def test_every_key_is_documented() -> None:
    source = Path(loader.__file__).parents[1] / "train" / "recipe" / "recipe.py"
    text = source.read_text()
    for field in fields(Recipe):
        declaration = text.split(f"\n    {field.name}: ", 1)[1]
        assert declaration.split("\n")[1].strip().startswith('"""'), field.name


def test_the_street_pair_differs_in_the_distillation_alone() -> None:
    pairs = (("street", "street-baseline"), ("street-long", "street-long-baseline"))
    for name, base in pairs:
        distilled, baseline = load_recipe(name), load_recipe(base)
        assert (distilled.distillation, baseline.distillation) == ("d2s", "none")
        assert replace(distilled, name=base, distillation="none", d2s_channels=64) == baseline
        assert (distilled.scheme, distilled.d2s_weight) == ("4", 0.005)


def test_what_the_papers_do_not_have_is_off_in_their_recipes() -> None:
    recipe = load_recipe("xdistill-rn50")
    assert (recipe.pose_network, recipe.row_prior, recipe.automask_start) == ("resnet", None, 0.0)


def test_files_of_a_recipe_may_lie_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "base.toml").write_text('base = "xdistill-rn18"\nscheme = "~/mine.toml"\n')
    (tmp_path / "own.toml").write_text('base = "~/base.toml"\ninit = "~/runs/first"\n')
    recipe = load_recipe("~/own.toml")
    assert recipe.scheme == str(tmp_path / "mine.toml")
    assert recipe.init == str(tmp_path / "runs" / "first")

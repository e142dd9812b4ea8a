"""Does distillation help on the street? Paired seeds, intervals, controls: ``make ablation``.

First ``--validate``: one validation seed, scored on the validation drives, fixes the settings.
Then the test seeds run with these settings and are scored on the test drives. Finished runs are
kept, so the same command resumes.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ablation_statistics import NOTHING, T_975, Difference, paired

DRIVES, FRAMES, SIZE, STREET_SEED = 60, 10, "192x64", 0
RECIPE = "street"
SETTINGS = ("pose=oxts", "automask_start=0", "schedule_steps=400")
"""Recorded poses, so that the spread between seeds is that of the depth network alone."""
VALIDATION_SEED = 1000
TEST_SEEDS = tuple(range(1, 9))
WEIGHTS = ("0.0015", "0.005", "0.015")
"""lambda_D2S tried on the validation seed; the paper's is 0.005."""
SCORES = "scores.json"
HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One training."""

    variant: str
    """baseline, distilled, shuffled or stopped."""
    seed: int
    """Seed of its three random streams."""
    split: str
    """Split it is scored on."""
    changes: tuple[str, ...] = ()
    """Recipe keys, ``key=value``."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        changes = [change for change in self.changes if change not in SETTINGS]
        return "-".join([self.variant, *changes, str(self.seed)]).replace("=", "_")


def main() -> None:
    """Run what is missing and print the tables."""
    options = parse_options(sys.argv[1:])
    start = time.monotonic()
    make_street(options.out)
    runs = planned_runs(options)
    refuse_others(runs, options.out)
    finish(runs, options.out, processes=options.processes)
    scores = {run: read_scores(options.out, run) for run in runs}
    text = validation_text(scores) if options.validate else ablation_text(scores)
    cpu = sum(score["cpu_seconds"] for score in scores.values())
    print(text)
    print(
        f"{len(runs)} trainings, {cpu / 60:.0f} CPU-minutes; this call took "
        f"{(time.monotonic() - start) / 60:.0f} minutes with {options.processes} processes"
    )


def planned_runs(options: argparse.Namespace) -> list[Run]:
    """Runs for the options, whose changes come last and so win over ``SETTINGS``."""
    changes = (*SETTINGS, *options.changes)
    return validation_runs(changes) if options.validate else test_runs(options.seeds, changes)


def parse_options(words: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; refuse what would fail after the trainings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("ablation"))
    parser.add_argument("--processes", type=int, default=2, help="trainings at the same time")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(TEST_SEEDS))
    parser.add_argument("--validate", action="store_true", help="validation seed and drives only")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(words)
    if options.processes < 1:
        parser.error(f"--processes is {options.processes}: give 1 or more")
    if len(set(options.seeds)) != len(options.seeds) or len(options.seeds) - 1 not in T_975:
        most = max(T_975) + 1
        parser.error(f"--seeds: {len(options.seeds)} given, expected 2 to {most} different ones")
    return options


def make_street(out: Path) -> None:
    """Render the missing drives; the command refuses a street of other settings."""
    out.mkdir(parents=True, exist_ok=True)
    words = f"--drives {DRIVES} --frames {FRAMES} --size {SIZE} --seed {STREET_SEED}"
    program = "from xdistill.pipeline.cli.main import main; main()"
    command = [sys.executable, "-c", program, "street", "--out", str(out / "street")]
    subprocess.run([*command, *words.split()], check=True)


def validation_runs(changes: tuple[str, ...]) -> list[Run]:
    """The baseline and every weight, on the validation seed."""
    seed, split = VALIDATION_SEED, "val"
    weights = [(*changes, f"d2s_weight={weight}") for weight in WEIGHTS]
    return [
        Run(variant="baseline", seed=seed, split=split, changes=changes),
        *(Run(variant="distilled", seed=seed, split=split, changes=c) for c in weights),
    ]


def test_runs(seeds: Sequence[int], changes: tuple[str, ...]) -> list[Run]:
    """Three variants for every seed, and the stopped gradient for the first."""
    pairs = [(variant, seed) for seed in seeds for variant in ("baseline", "distilled")]
    controls = [("stopped", seeds[0]), *(("shuffled", seed) for seed in seeds)]
    return [
        Run(variant=variant, seed=seed, split="test", changes=changes)
        for variant, seed in (*pairs, *controls)
    ]


def refuse_others(runs: Sequence[Run], out: Path) -> None:
    """Refuse a kept run whose settings differ from those it would have now."""
    # Here, because it loads PyTorch, which takes seconds.
    from ablation_run import full_settings, settings

    for run in runs:
        path = out / run.name / SCORES
        recipe = settings(RECIPE, run.variant, list(run.changes))
        wanted = full_settings(recipe, variant=run.variant, seed=run.seed, split=run.split)
        if path.is_file() and json.loads(path.read_text()).get("settings") != wanted:
            raise SystemExit(
                f"{path} has other settings: move its folder away or give another --out"
            )


def finish(runs: Sequence[Run], out: Path, *, processes: int) -> None:
    """Run the missing runs, ``processes`` at a time, until all have scores.

    After a failure no further run starts; those under way finish and keep their scores.
    """
    waiting = [run for run in runs if not (out / run.name / SCORES).is_file()]
    total, running, failed = len(waiting), {}, []
    while running or (waiting and not failed):
        while waiting and not failed and len(running) < processes:
            run = waiting.pop(0)
            running[run] = start(run, out)
            print(f"[{total - len(waiting)}/{total}] {run.name}", file=sys.stderr, flush=True)
        time.sleep(0.5)
        for run, process in list(running.items()):
            if process.poll() is not None:
                del running[run]
                if process.returncode:
                    failed.append(f"{run.name} failed: see {out / run.name}.log")
    if failed:
        raise SystemExit("\n".join(failed))


def start(run: Run, out: Path) -> "subprocess.Popen[bytes]":
    """Start a run in a new process on one thread, after removing an interrupted run's files."""
    folder = out / run.name
    for left in sorted(folder.rglob("*"), reverse=True):
        left.rmdir() if left.is_dir() else left.unlink()
    arguments = {
        "folder": str(folder), "street": str(out / "street"), "recipe": RECIPE,
        "variant": run.variant, "seed": run.seed, "split": run.split, "changes": list(run.changes),
    }  # fmt: skip
    program = (
        "import json, sys; from pathlib import Path; from ablation_run import run; "
        "a = json.loads(sys.argv[1]); run(Path(a.pop('folder')), street=Path(a.pop('street')), **a)"
    )
    with (out / f"{run.name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", program, json.dumps(arguments)],
            cwd=Path.cwd(),
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"},
        )


def read_scores(out: Path, run: Run) -> dict[str, Any]:
    """A run's scores, with its values as an array (frames, metrics)."""
    content: dict[str, Any] = json.loads((out / run.name / SCORES).read_text())
    content["values"] = np.array(content["values"], dtype=float)
    return content


def validation_text(scores: dict[Run, dict[str, Any]]) -> str:
    """Mean metrics of each setting on the validation drives."""
    lines = [f"validation seed {VALIDATION_SEED}, validation drives"]
    for run, score in scores.items():
        means = dict(zip(score["names"], np.nanmean(score["values"], axis=0), strict=True))
        setting = " ".join([run.variant, *run.changes])
        lines.append(f"  {setting:<76} abs_rel {means['abs_rel']:.4f}  rmse {means['rmse']:.3f}")
    return "\n".join(lines)


def ablation_text(scores: dict[Run, dict[str, Any]]) -> str:
    """Paired differences from the baseline and from the shuffled teacher, and the controls."""
    seeds = sorted({run.seed for run in scores})
    first = next(iter(scores.values()))
    lines = [
        f"{len(seeds)} paired seeds ({', '.join(map(str, seeds))}), {len(first['values'])} test "
        f"frames of {len(set(first['drives']))} drives",
    ]
    for variant, base, note in (
        ("distilled", "baseline", ""),
        ("shuffled", "baseline", " (control)"),
        ("distilled", "shuffled", ": what is in the labels, beside their mere presence"),
    ):
        heading = f"{variant} minus {base}{note}"
        lines += ["", heading, *difference_table(scores, seeds, variant, base=base)]
    return "\n".join([*lines, "", stopped_text(scores, seeds[0]), ""])


def difference_table(
    scores: dict[Run, dict[str, Any]], seeds: Sequence[int], variant: str, *, base: str
) -> list[str]:
    """A row for each metric: variant minus base."""
    rows = [
        f"{'metric':<28}{base:>9}{'change':>9}{'%':>7}   {'95 % t over seeds':<20} "
        f"{'95 % over drives':<20} per seed"
    ]
    first = next(iter(scores.values()))
    for number, name in enumerate(first["names"]):
        before = _stack(scores, seeds, base, number)
        change = paired(before, _stack(scores, seeds, variant, number), drives=first["drives"])
        rows.append(difference_row(name, float(np.nanmean(before)), change, base=base))
    return rows


def difference_row(name: str, before: float, change: Difference, *, base: str) -> str:
    """A metric's base, paired change, both intervals, per-seed changes and verdict."""

    def span(interval: tuple[float, float]) -> str:
        return f"[{interval[0]:+.4f}, {interval[1]:+.4f}]"

    seeds = " ".join(f"{value:+.4f}" for value in change.per_seed)
    verdict = NOTHING if change.verdict == NOTHING else f"{change.verdict} than {base}"
    return (
        f"{name:<28}{before:>9.4f}{change.mean:>+9.4f}{100 * change.mean / before:>+7.1f}   "
        f"{span(change.interval):<20} {span(change.drives_interval):<20} {seeds}   {verdict}"
    )


def _stack(
    scores: dict[Run, dict[str, Any]], seeds: Sequence[int], variant: str, number: int
) -> Any:
    """One metric (seeds, frames)."""
    by_seed = {run.seed: score for run, score in scores.items() if run.variant == variant}
    return np.stack([by_seed[seed]["values"][:, number] for seed in seeds])


def stopped_text(scores: dict[Run, dict[str, Any]], seed: int) -> str:
    """Whether D2S without its gradient left the baseline unchanged to the last bit."""
    found = {run.variant: score for run, score in scores.items() if run.seed == seed}
    baseline, stopped = found["baseline"], found["stopped"]
    same = baseline["depth_digest"] == stopped["depth_digest"] and np.array_equal(
        baseline["values"], stopped["values"], equal_nan=True
    )
    verdict = "exactly the baseline, as it must be" if same else "NOT THE BASELINE: something leaks"
    return f"D2S with its gradient stopped (control, seed {seed}): {verdict}"


if __name__ == "__main__":
    main()

"""The whole demo as a reader runs it: time, memory, and its page in a browser."""

import json
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

LIMIT_S = 8 * 60
LIMIT_BYTES = 4 * 1024**3
LEAST_GAIN = 0.2
"""Least share by which the baseline's abs_rel is below that of both trivial baselines."""
LEAST_YAW = 0.7
"""Least correlation of the learned with the recorded yaw in both runs."""
PROBE = """
<p id="probe"></p><script>
window.onload = () => {
  const shown = (i) => i.complete && i.naturalWidth > 0 && i.getBoundingClientRect().width > 50;
  const all = [...document.images];
  const count = `pictures ${all.length} ${all.filter(shown).length}`;
  document.getElementById("probe").textContent = count;
};
</script></body>"""
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the demo once; print its time and the memory of its largest process."""
    out = tmp_path_factory.mktemp("demo") / "demo"
    program = "from xdistill.pipeline.cli.main import main; main()"
    start = time.monotonic()
    command = [sys.executable, "-c", program, "demo", "--out", str(out)]
    subprocess.run(command, check=True)
    taken = time.monotonic() - start
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"\ndemo: {taken:.0f} s, largest process {largest / 1e6:.0f} MB")
    assert taken < LIMIT_S
    # Two of its processes run beside the demo itself.
    assert 3 * largest < LIMIT_BYTES
    return out


def test_it_fits_its_limits_and_beats_the_trivial_baselines(demo: Path) -> None:
    report = json.loads((demo / "report.json").read_text())
    for name, values in report["metrics"].items():
        print(f"{name:<12}" + " ".join(f"{key} {value:.3f}" for key, value in values.items()))
    for name, poses in report["poses"].items():
        found = {key: axis["correlation"] for key, axis in poses["axes"].items()}
        shown = ("none" if value is None else f"{value:.2f}" for value in found.values())
        print(f"{name:<12}" + " ".join(map(" ".join, zip(found, shown, strict=True))))
    yaws = {name: poses["axes"]["yaw"]["correlation"] for name, poses in report["poses"].items()}
    assert set(yaws) == {"baseline", "distilled"}
    assert all(yaw is not None and yaw >= LEAST_YAW for yaw in yaws.values()), yaws
    assert all(gain >= LEAST_GAIN for gain in report["gain_over_trivial"].values())


def test_its_page_has_no_error_and_shows_every_picture(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        # A skip is one letter in the output: nobody would notice that the page was not looked at.
        with capsys.disabled():
            print("\nNOT CHECKED: the demo's page in a browser; chromium is not installed")
        pytest.skip("needs chromium")
    page = tmp_path / "page.html"
    page.write_text((demo / "report.html").read_text().replace("</body>", PROBE))
    flags = [*QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr"]
    result = subprocess.run(
        [browser, *flags, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True
    )
    assert "CONSOLE" not in result.stderr
    found = re.search(r"pictures (\d+) (\d+)", result.stdout)
    assert found is not None and found[1] == found[2] != "0"
    print(f"\npage: {found[1]} pictures, all visible")

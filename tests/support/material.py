"""Two drives of KITTI for the tests: real where they are there, else of the street."""

import fcntl
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """Drives 2011_09_26_drive_0002 and 0013, with label maps."""

    kitti: Path
    """KITTI raw root."""
    labels: Path
    """Label maps of the left frames, train ids."""
    real: bool
    """Whether a camera recorded the frames."""


def rendered(kept: Path) -> Material:
    """Drives of the street, rendered unless a folder kept between sessions has them already.

    They are filed by the sources of what draws them.
    """
    sources = [*(ROOT / "pipeline" / "street").rglob("*.py"), Path(__file__)]
    sources.append(Path(__file__).with_name("street_kitti.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources))).hexdigest()
    folder = kept / digest[:16]
    # Of several processes one renders, and the others wait.
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            # Its modules are checked by a hook that is not installed yet when this one is imported.
            from street_kitti import write_material

            with tempfile.TemporaryDirectory(dir=kept) as aside:
                write_material(Path(aside) / "new")
                (Path(aside) / "new").rename(folder)
    return Material(kitti=folder / "kitti", labels=folder / "labels", real=False)

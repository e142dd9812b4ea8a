"""Summary of a store: coverage, class and group histograms, the teacher's record."""

from typing import Any

from xdistill.grouping.classes import cityscapes
from xdistill.pipeline.store import LabelStore
from xdistill.pipeline.store.format import IMAGES
from xdistill.pipeline.store.images import cached_size, holds_images


def describe(store: LabelStore) -> dict[str, Any]:
    """Summarise a store from its commits alone, without reading a label map.

    Returns:
        ``teacher`` (its record), ``fingerprint``, ``sequences`` (per sequence: frames labelled,
        failed, native size, arrays), ``labelled``, ``failed``, and ``histograms`` (per array:
        share of all pixels by class or group name, ``ignore`` last).
    """
    sequences: dict[str, Any] = {}
    totals: dict[str, Any] = {}
    for sequence in store.sequences():
        arrays = {name: store.array(sequence, name) for name in store.arrays(sequence)}
        made = arrays.get("classes") or arrays.get(IMAGES)
        if made is None:
            continue
        height, width = cached_size(store) if holds_images(store) else made.size
        sequences[sequence] = {
            "labelled": len(made.committed()),
            "failed": made.failed(),
            "height": height,
            "width": width,
            "arrays": sorted(arrays),
        }
        for name, array in arrays.items():
            if name == "classes" or name.startswith("groups_"):
                names = array.attributes.get("groups", cityscapes().names)
                totals.setdefault(name, (names, 0))
                totals[name] = (names, totals[name][1] + array.totals())
    return {
        "store": str(store.path),
        "fingerprint": store.fingerprint,
        "teacher": dict(store.teacher),
        "labelled": sum(entry["labelled"] for entry in sequences.values()),
        "failed": sum(len(entry["failed"]) for entry in sequences.values()),
        "histograms": {
            name: _shares(names, counts) for name, (names, counts) in sorted(totals.items())
        },
        "sequences": sequences,
    }


def _shares(names: list[str], counts: Any) -> dict[str, float]:
    total = max(int(counts.sum()), 1)
    return {
        name: int(count) / total for name, count in zip([*names, "ignore"], counts, strict=True)
    }


def as_text(summary: dict[str, Any]) -> str:
    """The summary as text for a terminal."""
    made = "images resized" if summary["teacher"].get("kind") == IMAGES else "frames labelled"
    lines = [
        f"{summary['store']}: {summary['labelled']} {made}, {summary['failed']} failed",
        f"teacher: {summary['teacher'].get('kind')}, fingerprint {summary['fingerprint'][:16]}",
        "",
        f"{'sequence':<62}{'frames':>7}{'failed':>7}  {'size':<10}arrays",
    ]
    for name, entry in summary["sequences"].items():
        size = f"{entry['width']}x{entry['height']}"
        lines.append(
            f"{name:<62}{entry['labelled']:>7}{len(entry['failed']):>7}  {size:<10}"
            + " ".join(entry["arrays"])
        )
    for name, shares in summary["histograms"].items():
        lines += ["", f"{name}: share of pixels"]
        lines += [
            f"  {label:<20}{share:>8.3%}  {'#' * round(share * 50)}".rstrip()
            for label, share in shares.items()
        ]
    return "\n".join(lines)

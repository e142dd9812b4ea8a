"""The commands of ``xd-pipeline``: each module holds the command it is named after."""

COMMANDS = {
    "segment": "Run the teacher over KITTI.",
    "regroup": "Merge the classes into groups.",
    "info": "Summarise a store.",
    "preview": "Draw a frame with its labels.",
    "export": "Write labels as PNG files.",
    "verify": "Check a store, and repair it.",
    "score": "Compare a store with ground-truth labels.",
    "cache-images": "Resize the images of a training once.",
    "teachers": "List, fetch and check teachers.",
    "street": "Render a small KITTI raw to try things on.",
    "demo": "Run the whole flow on the street.",
}
"""Each command's line in the list of commands."""

PROGRAMS = {"train": "xd-train", "eval": "xd-eval"}
"""What is looked for among the commands, and is a program beside ``xd-pipeline``."""

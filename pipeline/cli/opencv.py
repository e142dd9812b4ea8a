"""OpenCV on a machine without a screen: what its import lacks there.

mmcv and mmengine ask for opencv-python by name, and so does this package. Its windows, which
nothing here opens, need libraries that small containers lack. opencv-python-headless fills the same
folder without them, and serves: the one installed last is used.
"""

import re

WINDOWS = re.compile(r"lib(GL|EGL|glib-|gthread-|SM|ICE|X11|Xext|Xrender|xcb)[\w.-]*\.so[.\d]*")
"""Libraries of the system that opencv-python loads for its windows."""


def missing_library(error: ImportError) -> str | None:
    """The message for an import of OpenCV that a library is missing for; None for other errors."""
    missing = WINDOWS.match(str(error))
    if missing is None:
        return None
    return (
        f"OpenCV cannot be imported: this machine has no {missing[0]}\n"
        "  what to do: install it (Debian and Ubuntu: apt-get install libgl1 libglib2.0-0), or put "
        "OpenCV without windows in its place:\n"
        "    pip uninstall -y opencv-python && pip install --force-reinstall opencv-python-headless"
    )

"""Memory that runs out, reported with what to change instead of a traceback."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from xdistill.manifests.errors import XDistillError

SIGNS = (
    "not enough memory", "can't allocate memory", "Failed to allocate memory", "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)  # fmt: skip
"""What the allocators of torch (one system differs from the next), CUDA and ONNX Runtime say."""
MORE_MEMORY = "a machine or a --device with more memory"


class MemoryShortError(XDistillError, MemoryError):
    """Memory ran out."""


@contextmanager
def memory_reported(work: str, *, options: Sequence[str] = (MORE_MEMORY,)) -> Iterator[None]:
    """Raise MemoryShortError where some work runs out of memory.

    Args:
        work: What needs the memory, as the message says it.
        options: What to give instead.
    """
    try:
        yield
    except XDistillError:
        raise
    # On a CPU only the text shows it, and ONNX Runtime's exceptions have no base class.
    except Exception as error:
        if not isinstance(error, MemoryError) and not any(sign in str(error) for sign in SIGNS):
            raise
        raise MemoryShortError(
            f"out of memory: {str(error).splitlines()[0] if str(error) else 'MemoryError'}",
            expected=f"room for {work}",
            remedy=f"give {' or '.join(options)}",
        ) from error

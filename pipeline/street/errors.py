"""What can go wrong when a street is made."""

from xdistill.manifests.errors import XDistillError


class StreetError(XDistillError, ValueError):
    """A street that cannot be made as asked."""


class MissingCompilerError(StreetError, ImportError):
    """The ray-caster's compiler, an optional dependency, is not installed."""

"""Report pages: a jinja2 template over ``base.html``, which holds the style of every report."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: object) -> str:
    """One HTML page that needs no other file.

    Args:
        template: Path below the package, such as ``pipeline/demo/page.html``.
        values: Names that the template uses; text is escaped, ``Markup`` is not.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("xdistill", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

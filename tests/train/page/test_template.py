"""Pages from templates: escaped, and nothing in them is left out in silence."""

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from xdistill.train.page.template import render


def test_the_base_is_a_page_for_light_and_dark_that_fetches_nothing() -> None:
    page = render("train/page/base.html")
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page
    assert "http" not in page and "url(" not in page


def test_text_is_escaped_and_a_missing_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from xdistill.train.page import template

    environment = template._environment()
    assert environment.from_string("{{ a }}{{ b }}").render(a="<x>", b=Markup("<b>")) == (
        "&lt;x&gt;<b>"
    )
    with pytest.raises(UndefinedError, match="'a' is undefined"):
        environment.from_string("{{ a }}").render()

"""Properties of all HTML pages."""

from pnasnet.reports.pages import environment


def test_every_page_extends_the_base_page_and_forbids_the_network() -> None:
    made = environment()
    pages = [name for name in made.list_templates(["html"]) if name not in ("page.html", "macros.html")]
    assert len(pages) >= 5
    for name in pages:
        source, _, _ = made.loader.get_source(made, name)  # type: ignore[union-attr]
        assert '{% extends "page.html" %}' in source, name
    assert "default-src 'none'" in made.from_string('{% extends "page.html" %}').render(title="a")

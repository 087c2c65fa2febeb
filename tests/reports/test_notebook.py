"""What a notebook shows of pages and drawings."""

import re
from html import unescape

from pnasnet import PNASNET5
from pnasnet.reports.notebook import Page
from pnasnet.search.drawing import draw_cell


def test_a_page_is_shown_in_a_frame_of_its_own() -> None:
    page = Page('<!doctype html><p title="a">1 < 2 &amp; "b"</p>')
    (inside,) = re.findall(r'^<iframe srcdoc="([^"]*)"', page._repr_html_())
    assert unescape(inside) == page


def test_a_drawing_is_shown_as_it_is() -> None:
    drawing = draw_cell(PNASNET5)
    assert drawing._repr_html_() == drawing
    assert drawing.startswith("<svg ")

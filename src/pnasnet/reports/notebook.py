"""Strings that notebooks render: pages and drawings."""

from html import escape


class Page(str):
    """An HTML page. A notebook shows it in a frame."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self)}" style="width: 100%; height: 40em; border: 0"></iframe>'


class Drawing(str):
    """An SVG element. A notebook shows the image."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)

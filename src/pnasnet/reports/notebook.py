"""Text that a notebook shows as what it is: pages and drawings. Elsewhere it is text like any other."""

from html import escape


class Page(str):
    """A page of HTML, shown in a frame."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self)}" style="width: 100%; height: 40em; border: 0"></iframe>'


class Drawing(str):
    """An SVG element, shown as it is."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)

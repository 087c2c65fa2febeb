"""Text that notebooks render: pages and drawings. Elsewhere it is plain text."""

from html import escape


class Page(str):
    """A page of HTML, shown in a frame."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self)}" style="width: 100%; height: 40em; border: 0"></iframe>'


class Drawing(str):
    """An SVG element, shown without a frame."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)

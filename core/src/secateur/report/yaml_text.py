"""YAML with its parts marked, so that a style sheet can colour them."""

from __future__ import annotations

from markupsafe import Markup


def coloured(text: str) -> Markup:
    """The text as HTML, escaped, each token in a `span` whose class says what it is.

    >>> coloured("a: <b>")  # doctest: +ELLIPSIS
    Markup('<span class="y-nt">a</span>...&lt;b&gt;...')
    """
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import YamlLexer

    formatter = HtmlFormatter(nowrap=True, classprefix="y-")
    return Markup(highlight(text, YamlLexer(stripnl=False, ensurenl=False), formatter))

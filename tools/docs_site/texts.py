"""From docstrings, which are plain prose with backticks, to Markdown."""

from __future__ import annotations

import inspect
import re
import textwrap

CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)
SPECIAL = re.compile(r"([*<>\[\]])")


def prose(text: str) -> str:
    """A paragraph whose stars and brackets mean themselves; what stands in backticks is code."""
    parts = CODE.split(text)
    return "".join(part if index % 2 else SPECIAL.sub(r"\\\1", part) for index, part in enumerate(parts))


def from_docstring(docstring: str | None) -> str:
    """The paragraphs of a docstring; what is indented, or begins with a prompt, becomes a block of code."""
    blocks = re.split(r"\n{2,}(?=\S)", inspect.cleandoc(docstring or ""))
    return "\n\n".join(_block(block) for block in blocks if block.strip())


def _block(block: str) -> str:
    if block.startswith(">>>"):
        return fence(block, "pycon")
    head, _, indented = block.partition("\n\n    ")
    if block.startswith("    "):
        head, indented = "", block.lstrip()
    if not indented:
        return prose(block)
    code = fence(textwrap.dedent("    " + indented), "python" if head.endswith("::") else "text")
    head = prose(re.sub(r"::$", ":", head))
    return f"{head}\n\n{code}" if head else code


def fence(code: str, language: str) -> str:
    """A block of code."""
    return f"```{language}\n{code.rstrip()}\n```"


def item(term: str, text: str) -> str:
    """An entry of a list: what is meant, and below it what is said of it."""
    return f"- {term}  \n{textwrap.indent(text.strip(), '    ')}".rstrip() + "\n"


def cell(text: str) -> str:
    """One cell of a table."""
    return prose(" ".join(text.split())).replace("|", "\\|")


def code(text: str) -> str:
    """A piece of code within a line or a cell."""
    return f"`{text}`".replace("|", "\\|")

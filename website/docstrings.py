"""An extension of griffe, which reads the package for the reference: examples of docstrings become blocks of code.

Docstrings say `Example:` with lines that begin with `>>>`, for which Markdown knows no form.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Module, Object

EXAMPLE = re.compile(r"^([ ]*)>>> .*(?:\n\1.*\S.*)*", re.MULTILINE)
HEADING = re.compile(r"^Example:$", re.MULTILINE)


def fenced(docstring: str) -> str:
    """The docstring with its examples as fenced blocks, under the heading that griffe knows."""
    text = EXAMPLE.sub(lambda block: f"{block[1]}```pycon\n{block[0]}\n{block[1]}```", docstring)
    return HEADING.sub("Examples:", text)


class Examples(Extension):
    """Fences the examples of every docstring."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring and not obj.is_module:
            obj.docstring.value = fenced(obj.docstring.value)

    def on_module(self, *, mod: Module, **kwargs: Any) -> None:
        if mod.docstring:
            mod.docstring.value = fenced(mod.docstring.value)

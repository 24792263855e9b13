"""Rules that turn one name into another and back.

A rule is two patterns with the same placeholders: `{n}` and other short ones stand for digits, `{rest}` for anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Rule = tuple[str, str]  # (ours, theirs)


def _compiled(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", pattern)
    text = re.escape(pieces[0])
    for name, literal in zip(pieces[1::2], pieces[2::2], strict=True):
        text += f"(?P<{name}>{'.+' if name == 'rest' else '[0-9]+'}){re.escape(literal)}"
    return re.compile(text)


def renamer(rules: Sequence[Rule], backwards: bool = False) -> Callable[[str], str | None]:
    """A function from a name to its new one, None for a name no rule fits; the first rule that fits counts.

    Args:
        rules: (ours, theirs) each.
        backwards: from theirs to ours.
    """
    pairs = [(theirs, ours) if backwards else (ours, theirs) for ours, theirs in rules]
    table = [(_compiled(old), new) for old, new in pairs]

    def new_name(key: str) -> str | None:
        for pattern, new in table:
            if (found := pattern.fullmatch(key)) is not None:
                return new.format(**found.groupdict())
        return None

    return new_name

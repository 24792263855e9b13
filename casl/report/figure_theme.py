"""Colours of pictures in the dark: an SVG holds rules for them, and shows itself as the page that it is in.

matplotlib writes a colour into the style of each part. A rule takes the parts of one colour, so that a viewer that
knows no such rules shows the picture in light.
"""

from __future__ import annotations

GROUND, INK = "#15181c", "#e6e6e6"  # of pages in the dark, as in style.py
FIXED = "fixed"  # ids of parts that stand on a coloured place begin so: they stay as they are

# a colour in the light: the same in the dark
DARK = {
    "#000000": INK,
    "#ffffff": GROUND,
    "#111111": INK,
    "#333333": "#cfd3d8",
    "#555555": "#b4b9bf",
    "#666666": "#a3a8ae",
    "#777777": "#a3a8ae",
    "#b0b0b0": "#3a4048",
    "#bbbbbb": "#5a626c",
    "#cccccc": "#3a4048",
    "#e0e0e0": "#2c3238",
    "#e6e6e6": "#262b31",
    "#ececec": "#262b31",
    "#b3261e": "#ff8a80",
    "#185b9e": "#6cb2f5",
    "#1f77b4": "#6cb2f5",
    "#3f9e8c": "#5cc5b1",
    "#8a5aa8": "#c79be0",
    "#c8641b": "#f0935a",
    "#5c7a29": "#a3c766",
    "#a83250": "#f08aa5",
    "#9aa5b1": "#7d8996",
}


def themed(svg: bytes) -> bytes:
    """An SVG of matplotlib's with rules for the dark."""
    end = b"</style>"
    before, found, after = svg.partition(end)
    assert found, "matplotlib writes a style sheet into every SVG"
    return before + _rules().encode() + end + after


def _rules() -> str:
    parts = [
        f'[style*="{what}: {light}"]:not([id^="{FIXED}"] *) {{ {what}: {dark} !important }}'
        for light, dark in DARK.items()
        for what in ("fill", "stroke")
    ]
    plain = f'svg {{ fill: {INK} }} [id^="{FIXED}"] {{ fill: #000000 }}'  # letters in black have no colour of their own
    parts += [f'[fill="{light}"] {{ fill: {dark} }}' for light, dark in DARK.items() if light == "#ffffff"]  # hatches
    return "\n@media screen and (prefers-color-scheme: dark) {\n" + "\n".join([plain, *parts]) + "\n}\n"

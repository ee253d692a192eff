"""Themes: text can be read on its background."""

from __future__ import annotations

import pytest

from manylabel.explain.pictures.themes import BOX, CASING, THEMES


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_of_known_colours():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("name", THEMES)
def test_text_of_every_colour_can_be_read(name):
    theme = THEMES[name]
    for colour in (theme.ink, theme.soft, theme.found, theme.missed, theme.wrong):
        assert contrast(colour, theme.paper) >= 4.5, colour
    assert contrast(BOX, CASING) >= 7


def test_one_theme_is_light_and_one_is_dark():
    assert luminance(THEMES["light"].paper) > 0.9
    assert luminance(THEMES["dark"].paper) < 0.02

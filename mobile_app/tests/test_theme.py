import pytest

from rebalancer_app.theme import DARK, LIGHT, contrast


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["text", "quiet", "accent", "gain", "loss", "caution"])
def test_words_contrast_with_every_ground(colors, name):
    for ground in (colors.ground, colors.surface, colors.raised):
        assert contrast(getattr(colors, name), ground) >= 4.5


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_words_on_the_accent_and_on_the_band_contrast(colors):
    assert contrast(colors.on_accent, colors.accent) >= 4.5
    assert contrast(colors.text, colors.band) >= 4.5


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_lines_of_charts_contrast_with_cards(colors):
    for line in colors.series:
        assert contrast(line, colors.surface) >= 2.0


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)

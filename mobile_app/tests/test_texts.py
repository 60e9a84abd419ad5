"""Every string exists in every language, with the same values."""

import re
import string

import pytest

from rebalancer_app.texts import LANGUAGES, load_texts

ENGLISH = load_texts("en").words


def names(text):
    return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_languages_have_the_same_strings(language):
    assert load_texts(language).words.keys() == ENGLISH.keys()


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_translations_use_the_same_values(language):
    for name, text in load_texts(language).words.items():
        assert names(text) == names(ENGLISH[name]), name


def test_names_in_the_code_exist(pytestconfig):
    sources = (pytestconfig.rootpath / "mobile_app/rebalancer_app").rglob("*.py")
    used = {
        name
        for path in sources
        for name in re.findall(r'(?:texts?|_)\(\s*"([a-z_]+\.[a-z_.]+)"', path.read_text("utf-8"))
    }
    assert used
    counted = {name.rpartition(".")[0] for name in ENGLISH if name.endswith(".other")}
    assert used <= ENGLISH.keys() | counted


def test_an_unknown_language_is_english():
    assert load_texts("tlh").language == "en"


def test_what_the_server_names_has_words_in_every_language():
    from rebalancer.domain.market.asset_classes import AssetClass
    from rebalancer.domain.policy.rules import POLICIES as RULES
    from rebalancer.domain.portfolio.entries import EntryKind
    from rebalancer.domain.portfolio.risk import RISK_PROFILES
    from rebalancer.domain.rebalancing.lifecycle import Stage

    wanted = [f"policy.{name}" for name in RULES]
    wanted += [f"performance.class_{name}" for name in (*AssetClass, "unknown", "cash", "fees")]
    wanted += [f"profile.{name}" for name in RISK_PROFILES]
    wanted += [f"entry.{kind}" for kind in EntryKind]
    wanted += [f"stage.{stage}" for stage in Stage if stage not in ("proposed", "nothing_to_do")]
    for language in LANGUAGES:
        words = load_texts(language).words
        assert [name for name in wanted if name not in words] == []

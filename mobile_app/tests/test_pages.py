"""The pages before sign-in: complete in every language, chosen by the browser's preference."""

import asyncio
import json
import re
from html import unescape

import httpx
import pytest
from fake_server import FakeServer
from hypothesis import given
from hypothesis import strategies as st

from rebalancer_app.gateway.problems import Problem
from rebalancer_app.texts import LANGUAGES, load_texts
from rebalancer_app.web.pages import (
    APP,
    FOLDER,
    LAYOUT,
    PARTS,
    TITLES,
    Pages,
    accepted_languages,
    choose_language,
    script_words,
)
from rebalancer_app.web.server import OPEN_PAGES, OWN_PAGES, WebClient

ALL = (*TITLES, APP)
PAGES = Pages("/static/abc/", has_guest=True)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize("name", ALL)
def test_no_place_of_a_page_is_left(name, language):
    page = PAGES.render(name, language)
    head, _, body = page.partition("<body")
    words = re.search(r'data-words="([^"]*)"', body)
    body = body.replace(words[0], "")
    assert "{" not in head and "{" not in body
    assert f'<html lang="{language}">' in head
    assert head.count("/static/abc/") == 2 and "<script" not in head
    assert all("/static/abc/" in one for one in re.findall("<script[^>]*>", body))
    shown = json.loads(unescape(words[1]))
    assert shown == ({} if name == APP else script_words(load_texts(language)))


@pytest.mark.parametrize("name", sorted(TITLES))
def test_pages_are_translated(name):
    english, german = (
        set(re.findall(r">([^<>{}]*[a-z][^<>{}]*)<", PAGES.render(name, one)))
        for one in ("en", "de")
    )
    assert english & german <= {"Rebalancer", " · "}


def test_pages_and_files_belong_together():
    files = {path.stem for path in FOLDER.glob("*.html")}
    assert files == {*ALL, *PARTS, LAYOUT}
    assert {*OPEN_PAGES, *OWN_PAGES, "sign-out"} == TITLES.keys()


def test_scripts_show_texts_that_exist_and_nothing_else():
    used: set[str] = set()
    for path in FOLDER.glob("*.js"):
        script = path.read_text("utf-8")
        used |= set(re.findall(r'\bword\("([a-z_.]+)"\)', script))
        # A text in quotes with a space is for people; the rest are names.
        spoken = re.findall(r'show\("[^"]+"|Error\("[^"]+"|return "[^"]+"', script)
        assert spoken == [], path.name
    words = script_words(load_texts("en"))
    assert used <= words.keys()
    own = {name for name in words if not name.startswith("problem.")}
    assert own <= used


def test_each_text_of_the_pages_is_used():
    places = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.html"))
    named = {f"{{{name}}}" for name in load_texts("en").words if name.startswith("pages.")}
    unused = {name for name in named if name not in places and ".script." not in name}
    assert unused - {f"{{{title}}}" for title in TITLES.values()} == set()


def test_texts_cannot_become_markup(monkeypatch):
    texts = load_texts("en")
    hostile = '"><script>&'
    changed = {**texts.words, "entrance.promise": hostile, "pages.script.failed": hostile}
    monkeypatch.setattr("rebalancer_app.web.pages.load_texts", lambda _: type(texts)("en", changed))
    page = PAGES.render("sign-in", "en")
    assert hostile not in page
    assert "&quot;&gt;&lt;script&gt;&amp;" in page


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-CH,de;q=0.9,en;q=0.8", "de"),
        ("fr-FR,fr;q=0.9,de;q=0.8,en;q=0.7", "de"),
        ("en;q=0.5, de;q=0.7", "de"),
        ("DE-at", "de"),
        ("de;q=0, en", "en"),
        ("de;q=0", "en"),
        ("fr, *;q=0.5", "en"),
        ("de;q=2, en", "en"),
        ("de;q=nonsense, en;q=0.1", "en"),
        (";;,,=, den", "en"),
        ("deutsch", "en"),
    ],
)
def test_language_is_the_preferred_one_that_exists(header, language):
    assert choose_language(header) == language


@given(st.text(max_size=60))
def test_any_header_gives_a_language(header):
    assert choose_language(header) in LANGUAGES
    assert len(accepted_languages(header)) <= header.count(",") + 1


def test_answers_name_their_language_and_what_it_depends_on():
    async def scenario():
        transport = httpx.ASGITransport(WebClient(FakeServer()))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as browser:
            for header, language in (("de-DE,en;q=0.5", "de"), ("fr", "en")):
                answer = await browser.get("/sign-in", headers={"accept-language": header})
                assert answer.headers["content-language"] == language
                assert "accept-language" in answer.headers["vary"]
                assert f'lang="{language}"' in answer.text
                assert load_texts(language)("entrance.sign_in") in answer.text

    asyncio.run(scenario())


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_problems_have_a_sentence_by_their_code_and_field(language):
    texts = load_texts(language)
    short = Problem(400, "invalid_value", "", {"body.password": "expected text"})
    assert "15" in texts.describe(short.code, short.only_field)
    other = Problem(400, "invalid_value", "", {"name": "expected text"})
    assert texts.describe(other.code, other.only_field) is None
    both = Problem(400, "invalid_value", "", {"password": "no", "new_password": "no"})
    assert texts.describe(both.code, both.only_field) is None
    assert "40" in texts.describe("login_delayed", seconds=40.0)
    assert texts.describe("login_delayed") is None  # without its seconds it says too little


def test_translated_problems_are_codes_of_the_server(pytestconfig):
    golden = (pytestconfig.rootpath / "tests/golden/errors.txt").read_text("utf-8")
    codes = set(re.findall(r"^([a-z_]+) [A-Z]", golden, re.M))
    # What the app itself finds, and what the web client's own server answers.
    own = {"changed_elsewhere", "not_understood", "refused", "signed_out", "unreachable"}
    generic = {"invalid_value", "not_found", "rate_limited"}
    named = {name.split(".")[1] for name in load_texts("en").words if name.startswith("problem.")}
    assert named - own - generic - codes == set()

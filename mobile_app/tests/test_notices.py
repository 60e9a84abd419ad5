"""Choices of notices, as the app changes them."""

from datetime import UTC, datetime

from rebalancer_app.gateway.decoding import decode, encode
from rebalancer_app.gateway.notices import Choices, NewChoices, Switch
from rebalancer_app.texts import LANGUAGES, load_texts

ANSWER = {
    "language": "de",
    "zone": "Europe/Berlin",
    "digest": "daily",
    "digest_at": "08:00",
    "quiet": {"start": "22:00", "end": "07:00"},
    "paused": False,
    "paused_until": "2026-03-31T15:30:00Z",
    "switches": [{"channel": "email", "kind": "drift", "on": False}],
    "channels": [{"channel": "email", "kind": "drift", "on": False}],
}


def test_choices_are_sent_back_as_they_came():
    choices = decode(ANSWER, Choices)
    assert choices.paused_until == datetime(2026, 3, 31, 15, 30, tzinfo=UTC)
    sent = encode(NewChoices.of(choices))
    assert datetime.fromisoformat(sent.pop("paused_until")) == choices.paused_until
    expected = {name: value for name, value in ANSWER.items() if name in sent}
    assert sent == expected and "channels" not in sent


def test_switch_replaces_the_one_of_its_kind_and_channel():
    choices = NewChoices.of(decode(ANSWER, Choices))
    on, other = Switch("email", "drift", True), Switch("app", "drift", False)
    assert choices.switched(on).switched(other).switches == [on, other]


def test_every_kind_of_the_server_has_a_name():
    from rebalancer.domain.notices.kinds import NoticeKind

    for language in LANGUAGES:
        texts = load_texts(language)
        assert [kind for kind in NoticeKind if texts.find(f"notices.kind_{kind}") is None] == []

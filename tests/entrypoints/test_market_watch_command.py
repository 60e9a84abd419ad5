"""`rebalancer market watch`, with the real client and Yahoo's stream in a local internet."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import threading
from datetime import UTC, date, datetime, timedelta

import pytest

from rebalancer.application.live_values import WatchedAsset
from rebalancer.domain.market.live_quotes import LastClose, Tick
from rebalancer.entrypoints.cli.market_watch import _View, age_text
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT
from tests.internet import Internet, environment, wait_until
from tests.yahoo_stream import YahooStreamServer


@pytest.fixture
def stream():
    return YahooStreamServer({"VTI", "VOD.L", "BTC-USD"})


@pytest.fixture
def internet(stream, tmp_path):
    served = Internet({}, sockets=stream.sockets())
    with served as running, environment(running.environment(tmp_path)):
        yield running


@pytest.fixture
def trading(stream, internet):
    """Send trades of all assets until the test ends."""
    ended = threading.Event()

    def trade():
        number = 0
        while not ended.wait(0.02):
            number += 1
            stream.send("VTI", 250 + number / 100, currency="USD")
            stream.send("VOD.L", 70.5 + number / 100, currency="GBp")

    thread = threading.Thread(target=trade)
    thread.start()
    yield
    ended.set()
    thread.join()


def test_quotes_are_lines_of_json_and_a_missing_one_ends_with_exit_code_3(quickly, trading):
    seen = quickly("market", "watch", "VTI,VOD.L,NOSUCH", "--for", "4", "--json")
    assert seen.code == 3, seen
    assert "No quote of NOSUCH came." in seen.stderr
    quotes = [json.loads(line) for line in seen.stdout.splitlines()]
    assert {one["symbol"] for one in quotes} == {"VTI", "VOD.L"}
    assert {one["currency"] for one in quotes} == {"USD", "GBP"}
    assert all(0.7 < one["price"] < 5 for one in quotes if one["symbol"] == "VOD.L")


def test_quotes_are_plain_lines_outside_of_a_terminal(capsys):
    close = LastClose(250.0, date(2026, 11, 27), "USD")
    view = _View(["VTI"], {"VTI": "USD"}, {"VTI": WatchedAsset("VTI", close, None)}, False)
    traded = datetime(2026, 11, 30, 15, 0, 3, tzinfo=UTC)
    first = Tick("VTI", 251.0, traded, "yahoo")
    for tick in (first, first, Tick("VTI", 1.0, traded - timedelta(1), "yahoo")):
        view.receive(tick)
    for _ in range(2):
        view.receive(Tick("VTI", 0.0, traded, "yahoo"))
    printed = capsys.readouterr()
    assert printed.out == "2026-11-30 15:00:03 UTC  VTI  251.00 USD  +0.40%\n"
    assert printed.err == "Left out: 0.0 is not a price of VTI.\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.2, "3 s"), (900, "15 min"), (7200, "2 h"), (400_000, "5 d")]
)
def test_age_is_written_in_its_largest_unit(seconds, text):
    assert age_text(seconds) == text


def test_symbols_are_checked(quickly):
    quickly("market", "watch", ",").refused("enter 1 to 200")
    refused = quickly("market", "watch", "VTI", "--for", "0")
    assert refused.code == 2


def test_table_in_a_terminal_ends_with_ctrl_c(trading, tmp_path):
    leader, follower = pty.openpty()
    shown = bytearray()
    process = subprocess.Popen(
        [COMMAND, "market", "watch", "VTI,VOD.L"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=ENVIRONMENT
        | {name: os.environ[name] for name in os.environ if "PROXY" in name.upper()}
        | {name: os.environ[name] for name in ("SSL_CERT_FILE",)},
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(follower)

    def read():
        while True:
            try:
                shown.extend(os.read(leader, 65536))
            except OSError:
                return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        wait_until(lambda: b"2 of 2 assets have a quote" in shown)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        reader.join(10)
        os.close(leader)
    assert b"Traceback" not in shown and b"VOD.L" in shown

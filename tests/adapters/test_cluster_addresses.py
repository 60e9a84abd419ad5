"""Clusters on a network are used with a token alone; this needs no Ray."""

import pytest

from rebalancer.adapters.ray.address import check_address
from rebalancer.domain.errors import InvalidRequest

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "secret"}


def refuse(address, environment, home):
    with pytest.raises(InvalidRequest) as raised:
        check_address(address, environment, home)
    assert raised.value.field == "address"
    return raised.value.code


@pytest.mark.parametrize("address", ["local", "localhost:6379", "127.0.0.1:6379", "[::1]:6379"])
def test_this_machine_needs_no_token(address, tmp_path):
    check_address(address, {}, tmp_path)


@pytest.mark.parametrize("address", ["10.0.0.1:6379", "ray-head:6379", "[fd00::1]:6379"])
def test_networks_need_authentication(address, tmp_path):
    assert refuse(address, {}, tmp_path) == "cluster_without_token"
    disabled = TOKEN | {"RAY_AUTH_MODE": "disabled"}
    assert refuse(address, disabled, tmp_path) == "cluster_without_token"
    check_address(address, TOKEN, tmp_path)


def test_authentication_needs_a_token(tmp_path):
    mode = {"RAY_AUTH_MODE": "token"}
    assert refuse("10.0.0.1:6379", mode, tmp_path) == "cluster_token_missing"
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    check_address("10.0.0.1:6379", mode, tmp_path)
    check_address("10.0.0.1:6379", mode | {"RAY_AUTH_TOKEN_PATH": "/run/token"}, tmp_path)


@pytest.mark.parametrize(
    "address", ["", "auto", "ray://10.0.0.1:10001", "10.0.0.1", "10.0.0.1:0", "a:65536", "a b:1"]
)
def test_other_texts_are_refused(address, tmp_path):
    assert refuse(address, TOKEN, tmp_path) == "invalid_cluster_address"

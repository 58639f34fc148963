"""Where webhooks may go: to public addresses, however a private one is written."""

from ipaddress import ip_address

import pytest

from questline.outward.addresses import is_public, url_problem


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",
        "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254",
        "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1", "2001:0:1::1",
        "168.63.129.16", "192.0.0.192", "192.0.0.8", "192.88.99.1", "fec0::1", "3fff::1", "::ffff:168.63.129.16", "5f00::1", "100::1",
    ],
)  # fmt: skip
def test_an_address_of_our_own_network_is_not_public_however_it_is_written(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"]
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "url", ["https://shop.example/hook", "http://shop.example:8080/?a=b", "https://[2606:4700::1]/", "https://1.1.1.1"]
)
def test_a_url_that_can_be_asked_has_no_problem(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    "url",
    ["", "shop.example", "ftp://shop.example", "file:///etc/passwd", "https://", "https://:80",
     "https://shop.example:99999", "https://shop.example:x", "https://[::1", "https://a b", "https://a\n.b", "https://" + "a" * 3000,
     "https://shop.example:0/"],
)  # fmt: skip
def test_a_url_that_cannot_be_asked_is_told_why(url: str) -> None:
    assert url_problem(url)

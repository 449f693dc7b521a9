import pytest

from core.dicom.peers import Peers, ae_title, is_loopback
from core.errors import ConfigurationError
from core.settings import Settings


def test_without_a_list_this_machine_alone_may_send() -> None:
    peers = Peers()
    assert all(peers.allow("ANY", address) for address in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"))
    assert not any(peers.allow("ANY", address) for address in ("10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0"))
    assert not peers.reach("192.168.1.1")
    assert peers.loopback_only


@pytest.mark.parametrize(
    ("title", "address", "allowed"),
    [
        ("XRAY1", "10.1.2.3", True),
        ("XRAY1", "::ffff:10.1.2.3", True),
        ("XRAY1", "10.1.2.4", False),
        ("XRAY2", "10.1.2.3", False),
        ("xray1", "10.1.2.3", False),
        ("WHOEVER", "10.2.200.7", True),
        ("A PACS", "fd00::7", True),
        ("XRAY1", "127.0.0.1", False),
    ],
)
def test_with_a_list_it_is_the_whole_truth(title: str, address: str, allowed: bool) -> None:
    peers = Peers.read("XRAY1@10.1.2.3, *@10.2.0.0/16,A PACS@fd00::/8")
    assert peers.allow(title, address) is allowed
    assert peers.reach("10.1.2.3") and not peers.reach("10.1.2.4")
    assert not peers.loopback_only
    assert peers.names("XRAY1") and not peers.names("WHOEVER") and not peers.names("*")
    assert Peers.read(str(peers)) == peers


@pytest.mark.parametrize("wrong", ["XRAY1", "XRAY1@", "@10.0.0.1", "XRAY1@ward", "A TITLE THAT IS TOO LONG@10.0.0.1"])
def test_a_list_that_is_wrong_is_refused_with_a_sentence(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="FRACTURE_DICOM_PEERS"):
        Settings.from_env({"FRACTURE_DICOM_PEERS": wrong})


@pytest.mark.parametrize("wrong", ["", " LEADING", "TRAILING ", "BACK\\SLASH", "A,B", "ÜBER", "SEVENTEEN LETTERS"])
def test_a_title_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="AE title"):
        ae_title(wrong)


def test_tls_is_set_as_a_whole() -> None:
    with pytest.raises(ConfigurationError, match="only together"):
        Settings.from_env({"FRACTURE_DICOM_TLS_CERTIFICATE": "/a.pem"})
    with pytest.raises(ConfigurationError, match="FRACTURE_DICOM_TLS_CLIENTS needs"):
        Settings.from_env({"FRACTURE_DICOM_TLS_CLIENTS": "/a.pem"})


def test_hosts_of_this_machine_are_known() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "", "10.0.0.1", "ward"))  # noqa: S104

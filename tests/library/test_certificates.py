"""The certificates are read once, and again when the environment names others."""

from pathlib import Path

import certifi
import pytest
import trustme

from replyhook.certificates import certificates


def test_they_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert certificates() is certificates()
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    assert certificates() is certificates()


def test_a_file_that_has_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "authority.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    trustme.CA().cert_pem.write_to_path(str(file))
    (first,) = certificates().get_ca_certs()
    trustme.CA(organization_name="another").cert_pem.write_to_path(str(file))
    (then,) = certificates().get_ca_certs()
    assert first["serialNumber"] != then["serialNumber"]


def test_a_file_that_is_not_there_is_an_error_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    with pytest.raises(FileNotFoundError):
        certificates()


def test_a_folder_is_taken_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert certificates().get_ca_certs() == []

"""The warehouse's TLS certificate: the Snowflake connector speaks HTTPS only, so localhost needs one of its own."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lab.stack.home import StackHome
from lab.stack.settings import write_private_file

_VALID_DAYS = 3650


def ensure_certificate(home: StackHome) -> None:
    """Make the self-signed certificate on first use, and a bundle that trusts it and the usual authorities.

    The bundle holds all that the process trusted before, so it can replace REQUESTS_CA_BUNDLE everywhere.
    """
    if not home.certificate.exists():
        write_certificate(home.certificate, private_key=home.private_key)
    bundle = _trusted_authorities(home).read_text() + "\n" + home.certificate.read_text()
    if not home.ca_bundle.exists() or home.ca_bundle.read_text() != bundle:
        write_private_file(home.ca_bundle, text=bundle)


def _trusted_authorities(home: StackHome) -> Path:
    import certifi

    configured = os.environ.get("REQUESTS_CA_BUNDLE")
    if configured and Path(configured).is_file() and Path(configured).name != home.ca_bundle.name:
        return Path(configured)
    return Path(certifi.where())


def write_certificate(certificate: Path, *, private_key: Path, host_names: Sequence[str] = ("localhost",)) -> None:
    """Write a new self-signed certificate for the host names, the key first and both readable by their owner only."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private_text = key.private_bytes(pem, pkcs8, serialization.NoEncryption()).decode()
    write_private_file(private_key, text=private_text)
    write_private_file(certificate, text=_sign(key, host_names).public_bytes(pem).decode())


def _sign(key, host_names: Sequence[str]):
    """Return a certificate for the host names that can vouch for nothing but itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host_names[0])])
    now, names = datetime.now(UTC), [x509.DNSName(host_name) for host_name in host_names]
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    return (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(authority, critical=False)
        .sign(key, hashes.SHA256())
    )

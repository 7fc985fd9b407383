"""The warehouse's container: the Snowflake emulator under a host name of its own, for the other containers.

Run as `python docker/warehouse.py --address 0.0.0.0 --port 8443 --host-name warehouse --folder … --trust …`; user and
password come from OPTIMIZER_WAREHOUSE_USER and OPTIMIZER_WAREHOUSE_PASSWORD.
"""

import argparse
from pathlib import Path

import certifi

from lab.stack.certificate import write_certificate
from lab.stack.settings import write_private_file
from lab.stack.snowflake_server import serve


def ensure_certificate(folder: Path, *, host_name: str, trust: Path) -> tuple[Path, Path]:
    """Return certificate and private key, made on first use.

    `trust` becomes the bundle for REQUESTS_CA_BUNDLE: the usual authorities and this certificate. The key stays here.
    """
    certificate, private_key = folder / "certificate.pem", folder / "private_key.pem"
    if not certificate.exists():
        write_certificate(certificate, private_key=private_key, host_names=(host_name, "localhost"))
    write_private_file(trust, text=Path(certifi.where()).read_text() + "\n" + certificate.read_text())
    return certificate, private_key


def main() -> None:
    """Serve until a signal ends the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="where it listens; 0.0.0.0 only inside a container")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host-name", required=True, help="the name that clients call it by")
    parser.add_argument("--folder", type=Path, required=True, help="databases, certificate and private key")
    parser.add_argument("--trust", type=Path, required=True, help="the bundle that clients trust")
    options = parser.parse_args()
    certificate, private_key = ensure_certificate(options.folder, host_name=options.host_name, trust=options.trust)
    serve(options.folder, address=options.address, port=options.port, certificate=certificate, private_key=private_key)


if __name__ == "__main__":
    main()

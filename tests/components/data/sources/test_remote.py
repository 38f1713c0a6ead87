"""Files at s3:// (a local server of moto's) and at http(s)://: read, inventoried, or refused."""

from __future__ import annotations

import gzip
import json
import socket
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from components.data.sources import inventory
from components.data.sources.columns import read
from components.data.sources.files import connect, files_of
from components.data.sources.places import COPIES
from components.file_erasure import erase_tables
from components.settings import Ingest, Settings, Source
from tests.components.data.shop_files import ingest
from tests.object_store import KEYS, SECRET
from tests.processes import free_port

COLUMNS = {"user_id": "u", "item_id": "s", "timestamp": "t"}
DAY = "2024-03-01"
NO_GCSFS = (ValueError, "gs://shop/in/a.csv", r"pip install 'bowerbird\[gs\]'")


def csv_of(*users: str) -> bytes:
    return ("u,s,t\n" + "".join(f"{user},x,{DAY}\n" for user in users)).encode()


def put(bucket: Any, **objects: bytes) -> None:
    for key, body in objects.items():
        bucket.put_object(Bucket="shop", Key=key, Body=body)


def users_of(root: Path, **source: Any) -> list[str]:
    given = Source.model_validate({"columns": COLUMNS, **source})
    con = connect("UTC")
    tables = [read(con, file, "interactions") for file in files_of(given, root)]
    return pd.concat([one.order_by("source_row").execute() for one in tables])["user_id"].tolist()


def listed(settings: Settings, root: Path, path: str) -> dict[str, Any]:
    section = Ingest.model_validate({"interactions": [{"path": path, "columns": COLUMNS}]})
    inventory.run(settings.model_copy(update={"ingest": section}), root)
    return json.loads((root / inventory.INVENTORY).read_text())


def test_an_object_a_prefix_and_a_pattern_are_read(
    bucket: Any, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = tmp_path / "c.parquet"
    pq.write_table(pa.table({"u": ["4"], "s": ["x"], "t": [DAY]}), parquet)
    put(
        bucket,
        **{"in/a.csv": csv_of("1", "2"), "in/b.csv.gz": gzip.compress(csv_of("3"))},
        **{"in/day=1/c.parquet": parquet.read_bytes(), "in/_SUCCESS": b"", "in/": b""},
        **{"in/notes.txt": b"x"},
    )
    assert users_of(tmp_path, path="s3://shop/in/a.csv") == ["1", "2"]
    assert users_of(tmp_path, path="s3://shop/in/") == ["1", "2", "3", "4"]
    assert users_of(tmp_path, path="s3://shop/in/*.csv*") == ["1", "2", "3"]
    assert "1 files of unread kinds are left out: notes.txt" in capsys.readouterr().out
    by_day = {**COLUMNS, "item_id": "day"}
    assert users_of(tmp_path, path="s3://shop/in/day=1/", columns=by_day) == ["4"]
    query = "SELECT a.u, s, a.t FROM a JOIN b USING (s) WHERE a.source_file LIKE 's3://shop/in/b%'"
    both = {"a": "s3://shop/in", "b": "s3://shop/in/day=1/c.parquet"}
    assert users_of(tmp_path, query=query, tables=both) == ["3"]

    source = {"path": "s3://shop/in/a.csv", "columns": COLUMNS}
    tables = ingest(settings, tmp_path, interactions=[source])
    assert set(tables["interactions"]["source"]) == {"s3://shop/in/a.csv"}
    assert not (tmp_path / "data/.staging").exists()


def test_the_inventory_changes_when_an_object_does(
    bucket: Any, settings: Settings, tmp_path: Path
) -> None:
    put(bucket, **{"in/a.csv": csv_of("1"), "in/b.csv": csv_of("2")})
    before = listed(settings, tmp_path, "s3://shop/in")
    assert before["s3://shop/in/a.csv"].keys() == {"size", "etag"}
    assert listed(settings, tmp_path, "s3://shop/in") == before
    assert not (tmp_path / "data/.staging").exists()  # nothing was copied
    put(bucket, **{"in/b.csv": csv_of("3")})  # of the same size
    changed = listed(settings, tmp_path, "s3://shop/in")
    assert [name for name in before if changed[name] != before[name]] == ["s3://shop/in/b.csv"]
    put(bucket, **{"in/c.csv": csv_of("4")})
    grown = listed(settings, tmp_path, "s3://shop/in")
    assert grown.keys() - before.keys() == {"s3://shop/in/c.csv"}


@pytest.mark.slow
def test_an_object_is_copied_once_until_it_changes(
    bucket: Any, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(bucket, **{"in/a.csv": csv_of("1"), "in/b.csv": csv_of("2")})
    assert users_of(tmp_path, path="s3://shop/in") == ["1", "2"]
    assert capsys.readouterr().out.count("bytes copied") == 2
    assert users_of(tmp_path, path="s3://shop/in") == ["1", "2"]
    put(bucket, **{"in/b.csv": csv_of("3")})  # of the same size
    assert users_of(tmp_path, path="s3://shop/in") == ["1", "3"]
    assert capsys.readouterr().out.count("bytes copied") == 1
    listed(settings, tmp_path, "s3://shop/in/b.csv")
    (copy,) = (tmp_path / COPIES).rglob("*.csv")  # of what is read no more there is none
    assert copy.read_bytes() == csv_of("3")

    (file,) = files_of(Source(path="s3://shop/in/a.csv", columns=COLUMNS), tmp_path)
    put(bucket, **{"in/a.csv": csv_of("4")})
    with pytest.raises(ValueError, match=r"in/a\.csv changed while it was copied: run it again"):
        read(connect("UTC"), file, "interactions")
    assert users_of(tmp_path, path="s3://shop/in/a.csv") == ["4"]
    erase_tables(settings, tmp_path, ["4"])
    assert not (tmp_path / COPIES).exists()


@pytest.mark.slow
def test_what_is_not_in_the_store_is_refused(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    put(bucket, **{"in/orders.csv": csv_of("1"), "in/x.bin": b"x"})
    said = []
    for error, path, words in (
        (FileNotFoundError, "s3://shop/in/order.csv", "did you mean 'orders.csv'?"),
        (FileNotFoundError, "s3://other/in/a.csv", "nothing at s3://other/in/a.csv"),
        (FileNotFoundError, "s3://shop/in/*.tsv", r"nothing at s3://shop/in/\*.tsv"),
        (ValueError, "s3://shop/in/x.bin", "x.bin has no known format"),
        (ValueError, "ftp://shop/in/a.csv", r"ftp:// is not read; known are s3, gs and https"),
        *([] if find_spec("gcsfs") else [NO_GCSFS]),
    ):
        with pytest.raises(error, match=words) as caught:
            users_of(tmp_path, path=path)
        said.append(str(caught.value))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ValueError, match=r"s3://shop/in/orders\.csv cannot be read") as caught:
        users_of(tmp_path, path="s3://shop/in/orders.csv")
    said.append(str(caught.value))
    for name in KEYS:
        monkeypatch.delenv(name.upper())
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        users_of(tmp_path, path="s3://shop/in/orders.csv")
    assert SECRET not in " ".join([*said, *capfd.readouterr()])


class Site(BaseHTTPRequestHandler):
    """Files of a dictionary: path → (status, headers, body)."""

    answers: dict[str, tuple[int, dict[str, str], bytes]]
    seen: ClassVar[dict[str, str]] = {}  # headers of the newest request
    no_head = False

    def do_HEAD(self) -> None:
        if self.no_head:
            self.send_error(405)
            return
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        type(self).seen = {name.lower(): value for name, value in self.headers.items()}
        status, headers, data = self.answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[tuple[str, type[Site]]]:
    """The URL of a web server, and what it answers."""
    handler = type("Answers", (Site,), {"answers": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_of_a_web_server_is_read_when_it_changed(
    site: tuple[str, type[Site]],
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, handler = site
    for headers in ({"ETag": '"1"'}, {"Last-Modified": "Fri, 01 Mar 2024 12:00:00 GMT"}):
        handler.answers["/in/a%20b.csv.gz"] = 200, headers, gzip.compress(csv_of("1"))
        handler.answers["/now.csv.gz"] = 302, {"Location": "/in/a%20b.csv.gz"}, b""
        for path in ("/in/a%20b.csv.gz", "/now.csv.gz"):
            assert users_of(tmp_path, path=url + path) == ["1"]
            before = listed(settings, tmp_path, url + path)
            assert before == listed(settings, tmp_path, url + path)
    capsys.readouterr()
    handler.answers["/in/a%20b.csv.gz"] = 200, {"ETag": '"2"'}, gzip.compress(csv_of("2"))
    assert listed(settings, tmp_path, url + "/now.csv.gz") != before
    handler.no_head = True
    assert listed(settings, tmp_path, url + "/now.csv.gz")[url + "/now.csv.gz"]["etag"] == '"2"'
    handler.answers["/in/a%20b.csv.gz"] = 200, {}, gzip.compress(csv_of("2"))
    before = listed(settings, tmp_path, url + "/now.csv.gz")
    assert listed(settings, tmp_path, url + "/now.csv.gz") != before
    assert "is read at every run" in capsys.readouterr().out


def test_a_database_at_a_url_has_its_tables(site: tuple[str, type[Site]], tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as con:
        con.execute("CREATE TABLE orders AS SELECT 7 AS u, 'x' AS s, '2024-03-01' AS t")
        con.execute("CREATE TABLE other AS SELECT 8 AS u")
    url, handler = site
    handler.answers["/shop.db"] = 200, {}, (tmp_path / "shop.db").read_bytes()
    assert users_of(tmp_path, path=url + "/shop.db", table="orders") == ["7"]
    query = "SELECT o.u, s, t FROM orders o JOIN other p ON p.u = o.u + 1"
    assert users_of(tmp_path, path=url + "/shop.db", query=query) == ["7"]


def test_answers_that_are_no_file_are_refused(site: tuple[str, type[Site]], tmp_path: Path) -> None:
    url, handler = site
    handler.answers |= {
        "/denied.csv": (403, {}, b""),
        "/round.csv": (302, {"Location": "/round.csv"}, b""),
        "/away.csv": (302, {"Location": "http://8.8.8.8/a.csv"}, b""),
        "/cut.csv": (200, {"Content-Length": "1000"}, csv_of("1")),
        "/no-format": (200, {}, csv_of("1")),
    }
    for error, path, words in (
        (FileNotFoundError, "/none.csv", r"there is no file http://.*/none\.csv \(404\)"),
        (ValueError, "/denied.csv", r"denied\.csv cannot be read: the server answers 403"),
        (ValueError, "/round.csv", r"round\.csv redirects more than 5 times"),
        (ValueError, "/away.csv", r"redirects to http://8\.8\.8\.8, which anyone .* use https://"),
        (ValueError, "/cut.csv", r"cut\.csv cannot be read"),
        (ValueError, "/no-format", r"no-format has no known format"),
    ):
        with pytest.raises(error, match=words):
            users_of(tmp_path, path=url + path)
    with pytest.raises(ValueError, match=r"http://8\.8\.8\.8/a\.csv is http, .* use https://"):
        users_of(tmp_path, path="http://8.8.8.8/a.csv")
    with pytest.raises(ValueError, match=r"there is no host 'none\.invalid'"):
        users_of(tmp_path, path="http://none.invalid/a.csv")


def test_no_output_has_the_password_of_a_url(
    site: tuple[str, type[Site]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url, handler = site
    url = url.replace("//", f"//reader:{SECRET}@")
    handler.answers["/a.csv"] = 200, {}, csv_of("1")
    handler.answers["/round.csv"] = 302, {"Location": "/round.csv"}, b""
    (file,) = files_of(Source(path=url + "/a.csv", columns=COLUMNS), tmp_path)
    rows = read(connect("UTC"), file, "interactions").execute()
    assert rows["user_id"].tolist() == ["1"]
    assert handler.seen["authorization"].startswith("Basic ")
    said = [*rows["source"]]
    for path in ("/none.csv", "/round.csv"):
        with pytest.raises((ValueError, FileNotFoundError), match=r"//\*\*\*@") as caught:
            users_of(tmp_path, path=url + path)
        said.append(str(caught.value))
    with pytest.raises(ValueError, match=r"ftp://reader:\*\*\*@x/a"):
        users_of(tmp_path, path=f"ftp://reader:{SECRET}@x/a")
    printed = capfd.readouterr()
    assert "bytes copied" in printed.out
    assert SECRET not in " ".join([*said, *printed])


@dataclass
class Internet:
    """Names and addresses that lead to a local server with TLS.

    names: what each name resolves to, one list after the other, the last for good. unreachable:
    addresses without a route. connected: the hosts of the connections.
    """

    handler: type[Site]
    names: dict[str, list[list[str]]]
    unreachable: set[str] = field(default_factory=set)
    connected: list[str] = field(default_factory=list)


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Internet]:
    names = ("shop.example", "files.example")
    certificate, key = self_signed(tmp_path, names)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    handler = type("Answers", (Site,), {"answers": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found = Internet(handler, {})
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        if port is None:
            lists = found.names[host]
            addresses = lists.pop(0) if len(lists) > 1 else lists[0]
            return [one for address in addresses for one in resolve(address, None, *args, **kwargs)]
        found.connected.append(host)
        if host in found.unreachable:
            raise OSError("no route")
        return resolve("127.0.0.1", server.server_port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def self_signed(folder: Path, names: tuple[str, ...]) -> tuple[Path, Path]:
    """Return the files of a certificate of these names and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(identifier, False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "server.pem", folder / "server.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


PUBLIC = "8.8.4.4"


def redirecting(internet: Internet) -> str:
    """Return a URL of shop.example that redirects to a file of files.example."""
    internet.handler.answers |= {
        "/a.csv": (302, {"Location": "https://files.example/b.csv"}, b""),
        "/b.csv": (307, {"Location": "/c.csv"}, b""),
        "/c.csv": (200, {}, csv_of("1")),
    }
    return "https://shop.example/a.csv"


@pytest.mark.parametrize(
    "inside",
    [
        *("10.0.0.7", "127.0.0.1", "169.254.169.254", "fd00::1", "::ffff:10.0.0.7", "::10.0.0.7"),
        *("64:ff9b::a00:7", "64:ff9b:1::a00:7", "2002:a00:7::1"),  # NAT64 and 6to4 of 10.0.0.7
    ],
)
def test_no_redirect_leads_from_a_public_server_to_a_private_one(
    internet: Internet, tmp_path: Path, inside: str
) -> None:
    url = redirecting(internet)
    internet.names = {"shop.example": [["8.8.8.8"]], "files.example": [[PUBLIC, inside]]}
    words = (
        r"shop\.example/a\.csv redirects to files\.example \(.*\), an address of a private network"
    )
    with pytest.raises(ValueError, match=words):
        users_of(tmp_path, path=url)
    assert internet.connected == ["shop.example"]
    internet.names["shop.example"] = [["10.0.0.9"]]  # within a private network
    assert users_of(tmp_path, path=url) == ["1"]


@pytest.mark.parametrize("address", [PUBLIC, "64:ff9b::808:808", "2002:808:808::1"])
def test_a_redirect_to_another_public_server_is_followed(
    internet: Internet, tmp_path: Path, address: str
) -> None:
    url = redirecting(internet)
    internet.names = {"shop.example": [["8.8.8.8"]], "files.example": [[address]]}
    assert users_of(tmp_path, path=url) == ["1"]
    assert internet.connected == ["shop.example", address, address]
    assert internet.handler.seen["host"] == "files.example"


def test_the_address_that_was_checked_is_the_one_that_is_connected(
    internet: Internet, tmp_path: Path
) -> None:
    url = redirecting(internet)
    internet.handler.answers["/b.csv"] = 200, {}, csv_of("1")
    changing = [[PUBLIC], ["10.0.0.7"]]
    internet.names = {"shop.example": [["8.8.8.8"]], "files.example": changing}
    assert users_of(tmp_path, path=url) == ["1"]
    assert internet.connected == ["shop.example", PUBLIC]


def test_an_address_without_a_route_is_passed_over(internet: Internet, tmp_path: Path) -> None:
    url = redirecting(internet)
    first = "2001:4860:4860::8844"
    internet.unreachable = {first}
    internet.names = {"shop.example": [["8.8.8.8"]], "files.example": [[first, PUBLIC]]}
    assert users_of(tmp_path, path=url) == ["1"]
    internet.names["files.example"] = [[first]]
    with pytest.raises(ValueError, match=r"shop\.example/a\.csv cannot be read .*no route"):
        users_of(tmp_path / "again", path=url)


def test_a_redirect_needs_the_certificate_of_its_name(internet: Internet, tmp_path: Path) -> None:
    internet.handler.answers["/a.csv"] = 302, {"Location": "https://other.example/b.csv"}, b""
    internet.names = {"shop.example": [["8.8.8.8"]], "other.example": [[PUBLIC]]}
    with pytest.raises(ValueError, match=r"cannot be read .*certificate"):
        users_of(tmp_path, path="https://shop.example/a.csv")

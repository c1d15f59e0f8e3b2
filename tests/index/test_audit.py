"""The audit: complete lines, in the file and in the journal."""

import json
import socket

from edge.bundles.signature import Signer
from edge.index.audit import AUDIT_FILE, MAX_BYTES, Audit, AuditReader, last_line


def test_the_line_is_logged_to_the_journal(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "log"))
        journal.settimeout(10)
        audit = Audit(tmp_path, {}, technician=None, journal=str(tmp_path / "log"))
        line = audit.write("push", "ab" * 8, "activated", signer=Signer("alice@lab", "SHA256:x"))
        said = journal.recv(4096).decode().rstrip("\0")
    assert json.loads(said[said.index("{") :]) == line.to_json_dict()
    assert "cardedge-audit: " in said
    assert last_line(tmp_path) == line


def test_on_a_full_disk_the_line_is_in_the_journal_with_the_reason(tmp_path):
    (tmp_path / AUDIT_FILE).symlink_to("/dev/full")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "log"))
        journal.settimeout(10)
        line = Audit(tmp_path, {}, technician=None, journal=str(tmp_path / "log")).write("push", None, "refused", reason="full")
        said = [journal.recv(4096).decode().rstrip("\0") for _ in range(2)]
    assert json.loads(said[0][said[0].index("{") :]) == line.to_json_dict()
    assert "cannot be appended" in said[1]


def test_an_incomplete_line_is_skipped(tmp_path):
    line = Audit(tmp_path, {}, technician="lab", journal="/nonexistent").write("prune", None, "pruned")
    with (tmp_path / AUDIT_FILE).open("a") as file:
        file.write('{"at": "2026-')
    assert last_line(tmp_path) == line
    assert last_line(tmp_path / "none") is None


def test_the_file_stays_bounded_and_loses_its_oldest_lines(tmp_path):
    (tmp_path / AUDIT_FILE).write_text(("x" * 99 + "\n") * (MAX_BYTES // 100 + 1))
    audit = Audit(tmp_path, {}, technician="lab", journal="/nonexistent")
    line = audit.write("confirm", "ab" * 8, "confirmed")
    assert (tmp_path / AUDIT_FILE).stat().st_size < MAX_BYTES
    assert last_line(tmp_path) == line
    assert (tmp_path / AUDIT_FILE).read_text().startswith("xx")


def test_a_reader_returns_lines_of_another_process(tmp_path):
    reader = AuditReader()
    assert reader.last(tmp_path) is None
    audit = Audit(tmp_path, {}, technician=None, journal="/nonexistent")
    for bundle_id in ("ab" * 8, "cd" * 8):
        line = audit.write("push", bundle_id, "activated")
        assert reader.last(tmp_path) == reader.last(tmp_path) == line

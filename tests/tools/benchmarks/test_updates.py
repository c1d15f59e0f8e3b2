"""The row updates, with so few cards that its figures mean nothing."""

from tools.benchmarks import updates


def test_every_update_is_pushed_and_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(updates, "NEW_CARDS", 10)
    monkeypatch.setattr(updates, "CORRECTED", 2)
    monkeypatch.setattr(updates, "ASSEMBLIES", 1)
    figures = list(updates.measure_updates(tmp_path, 60, 16))
    assert [figure.name for figure in figures] == ["10 new cards", "10 new cards between the others", "2 corrected pictures"]
    for figure in figures:
        assert 0 < figure.chunks < figure.files
        assert figure.chunks < 0.4 * figure.bundle_bytes < figure.files
    assembly = updates.measure_assembly(tmp_path)
    assert min(assembly.assembly.wall_s, assembly.assembly.processor_s, assembly.copy.wall_s, assembly.copy.processor_s) > 0

"""Mixed precision on a CPU that would only emulate it is a warning at the start."""

import pytest
from helpers import call
from helpers.configs import classifier_config

from mmres_plugin.engine import amp


@pytest.mark.parametrize(
    ("flags", "known"),
    [("fpu avx512_bf16 avx2", True), ("fpu asimd bf16", True), ("fpu avx512f avx2", False)],
)
def test_instructions(tmp_path, flags, known):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    assert amp.computes_bfloat16(tmp_path / "cpuinfo") == known
    assert amp.computes_bfloat16(tmp_path / "missing")  # on other systems nobody can tell


@pytest.mark.parametrize("slow", [True, False])
def test_warning(tmp_path, monkeypatch, capsys, slow):
    """It comes first: this training then ends because its data are missing."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(amp, "computes_bfloat16", lambda: not slow)
    config = classifier_config(tmp_path / "cls.py", tmp_path / "missing")
    assert call("train", config, "--amp", "--work-dir", tmp_path / "work") == 2
    assert ("no instructions for bfloat16" in capsys.readouterr().out) == slow

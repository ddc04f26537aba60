"""Where machine code is kept: a folder per text of the kernel's sources, and somewhere even without a home."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from feature_repo import engine, jit
from feature_repo.closing import SOURCES


def test_an_edited_helper_moves_the_cache(tmp_path):
    kernel, helper = tmp_path / "kernel.py", tmp_path / "helper.py"
    kernel.write_text("a")
    helper.write_text("b")
    before = jit.cache_folder(kernel, helper)
    assert jit.cache_folder(helper, kernel) == before
    helper.write_text("c")
    assert jit.cache_folder(kernel, helper) != before


def test_the_kernel_is_keyed_by_every_file_it_is_made_of():
    names = {Path(source).name for source in SOURCES}
    assert names == {"book.py", "closing.py", "state.py", "streaming.py"}
    folder = Path(engine._process._cache._cache_path)
    assert folder.is_relative_to(jit.cache_folder(engine.__file__, *SOURCES))


def test_without_a_writable_home_a_private_temporary_folder_serves():
    with tempfile.TemporaryDirectory() as temporary:
        env = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
        env |= {"HOME": "/proc/nobody", "TMPDIR": temporary}
        code = "from feature_repo.jit import cache_folder; print(cache_folder())"
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, cwd=root, capture_output=True, text=True, check=True
        )
        folder = Path(done.stdout.strip())
        assert folder.is_relative_to(temporary)
        assert folder.is_dir()
        assert folder.parent.stat().st_mode & 0o077 == 0


def test_a_folder_that_others_may_write_is_passed_over(tmp_path):
    tmp_path.chmod(0o777)
    assert not jit._ours(tmp_path)
    tmp_path.chmod(0o700)
    assert jit._ours(tmp_path)

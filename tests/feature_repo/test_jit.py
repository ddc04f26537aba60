"""Where machine code is kept: a folder per text of the kernel's sources, and somewhere even without a home."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from feature_repo import events, jit, kernel


def test_an_edited_helper_moves_the_cache(tmp_path):
    kernel, helper = tmp_path / "kernel.py", tmp_path / "helper.py"
    kernel.write_text("a")
    helper.write_text("b")
    before = jit.cache_folder(kernel, helper)
    assert jit.cache_folder(helper, kernel) == before
    helper.write_text("c")
    assert jit.cache_folder(kernel, helper) != before


def test_a_kernel_is_keyed_by_all_that_its_file_imports_from_the_project(tmp_path):
    (tmp_path / "inner").mkdir()
    files = {
        "kernel.py": "import os\nfrom .inner.helper import (\n    f,\n)\nfrom feature_repo.events import BUY\n",
        "inner/helper.py": "from .. import constants, missing\nfrom numpy import array\n",
        "constants.py": "from .kernel import g\n",
        "unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    own = {tmp_path / name for name in files if name != "unused.py"}
    assert jit.sources_of(tmp_path / "kernel.py") == own | {Path(events.__file__)}


def test_the_engines_kernel_is_keyed_by_its_helpers_and_constants():
    names = {path.stem for path in jit.sources_of(Path(kernel.__file__))}
    assert {"kernel", "book", "depth", "closing", "message", "streaming", "state", "constants", "fields"} <= names
    folder = jit.cache_folder(*jit.sources_of(Path(kernel.__file__)))
    for made in (kernel.process_holding, kernel.process_releasing):
        assert Path(made._cache._cache_path).is_relative_to(folder)


def test_machine_code_is_saved_by_one_at_a_time(tmp_path):
    inside, seen = [], []

    def save(number):
        inside.append(number)
        time.sleep(0.02)
        seen.append(list(inside))
        inside.remove(number)

    # As two processes have it: each with a handle of its own on the lock.
    locked = [jit._one_at_a_time(save, tmp_path / ".lock") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: locked[number](number), range(4)))
    assert sorted(seen) == [[0], [1], [2], [3]]
    assert kernel.process_holding._cache.save_overload.__qualname__ == locked[0].__qualname__


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

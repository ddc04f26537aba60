"""What a process that runs for weeks frees goes back."""

import os
import subprocess
import sys

from runtime.live.flat_memory import FLAT_MEMORY


def test_a_command_begins_again_once_with_its_own_arguments(tmp_path):
    script = tmp_path / "told.py"
    script.write_text(
        "import os, sys\n"
        "print(os.getpid(), sys.argv[1:], os.environ.get('MALLOC_ARENA_MAX'), flush=True)\n"
        "from runtime.live.flat_memory import begin_again_with_flat_memory\n"
        "begin_again_with_flat_memory()\n"
        "import pyarrow\n"
        "print(pyarrow.default_memory_pool().backend_name)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in FLAT_MEMORY} | {"PYTHONPATH": os.getcwd()}
    run = subprocess.run(
        [sys.executable, str(script), "a b"], capture_output=True, text=True, env=environment, check=True
    )
    first, again, pool = run.stdout.splitlines()
    assert first.endswith("['a b'] None")
    assert again == first.replace("None", "2")  # the same process
    assert pool == "system"


def test_large_blocks_that_are_freed_go_back_though_small_ones_beside_them_live_on():
    script = (
        "import resource\n"
        "from pathlib import Path\n"
        "resident = lambda: int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize() / 2**20\n"
        "before, kept = resident(), []\n"
        "blocks = [bytearray(16 << 20)]\n"
        "blocks.clear()  # glibc learns from a large block that is freed\n"
        "for _ in range(64):\n"
        "    blocks.append(bytearray(1 << 20))\n"
        "    kept.append(bytearray(1 << 12))\n"
        "blocks.clear()\n"
        "print(resident() - before)\n"
    )

    def grown_mib(more):
        environment = {k: v for k, v in os.environ.items() if k not in FLAT_MEMORY} | more
        run = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
        )
        return float(run.stdout)

    assert grown_mib(FLAT_MEMORY) < 4 < 32 < grown_mib({})

import subprocess
import sys
from pathlib import Path

import pytest

from pnasnet.errors import LockedError, OutputError
from pnasnet.support.locks import locked

_HOLD = (
    "import sys; from pathlib import Path; from pnasnet.support.locks import locked\n"
    "with locked(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
)


def test_a_second_process_is_refused_until_the_first_one_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    command = [sys.executable, "-c", _HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(LockedError, match="folder is in use by another run: wait until"), locked(folder):
            pytest.fail("two at a time")
        holder.kill()
    with locked(folder):
        pass


def test_a_file_instead_of_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*: File exists"), locked(tmp_path / "a"):
        pass

"""Follow README.md, the quickstart and the tutorials as a reader does, and write what was printed into them.

Command:  python docs/make_tutorials.py [PAGE ...]

A page is followed from top to bottom in a folder with the files of a clone that tutorials use:

- In a `console` block, each line with `$ ` is a command, and the lines below it are its output.
- `pnasnet serve` keeps running until the page ends, on a free port, which replaces 8000 in what follows.
- A `python` block continues the program of the previous ones. A `text` block right after it is its output.
- A `toml` block is written to the file that its first line names.
- A block right after a comment (`<!-- ... -->`) is left alone.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PAGES = (ROOT / "README.md", DOCS / "quickstart.md", *sorted((DOCS / "tutorials").glob("*.md")))
FILES = ("examples", "tests/golden/cifar10_400.parquet", "tests/checkpoints")
"""What tutorials use of a clone."""

_BLOCK = re.compile(r"(?<!-->\n)^```(console|python|text|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SECONDS = 600
_DONE = "--- done ---"
_PROGRAM = f"""
import json, sys
names = {{"__name__": "__main__"}}
for line in sys.stdin:
    exec(compile(json.loads(line), "page", "exec"), names)
    print("{_DONE}", flush=True)
"""


@dataclass
class Reader:
    """A person who follows a page: a folder, a Python, and the processes that were started."""

    folder: Path
    program: subprocess.Popen[str] | None = None
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    port: int = 8000

    def environment(self) -> dict[str, str]:
        """Return the environment: no network, this source tree, and programs beside this Python first."""
        paths = {
            "PYTHONPATH": str(ROOT / "src"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        return os.environ | paths | {"PNASNET_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "100"}

    def command(self, line: str) -> str:
        """Run a command, and return what it printed."""
        if line.startswith("pnasnet serve"):
            return self._serve(line)
        return self._run(["bash", "-c", line.replace(":8000", f":{self.port}")])

    def python(self, code: str) -> str:
        """Run a block in the same Python as the blocks before it, and return what it printed."""
        if self.program is None:
            self.program = self._start([sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE)
        assert self.program.stdin
        assert self.program.stdout
        self.program.stdin.write(json.dumps(code.replace(":8000", f":{self.port}")) + "\n")
        self.program.stdin.flush()
        late = threading.Timer(_SECONDS, self.program.kill)
        late.start()
        printed: list[str] = []
        for line in self.program.stdout:
            if line == f"{_DONE}\n":
                late.cancel()
                return "".join(printed)
            printed.append(line)
        late.cancel()
        raise RuntimeError(f"failed:\n{code}\n{''.join(printed)}")

    def toml(self, text: str) -> None:
        """Write a configuration to the file that its first line names."""
        (self.folder / text.partition("\n")[0].removeprefix("# ")).write_text(text, "utf-8")

    def close(self) -> None:
        """End the processes that were started."""
        for process in self.started:
            for kind in (signal.SIGTERM, signal.SIGKILL):
                if process.poll() is None:
                    os.killpg(process.pid, kind)  # with what it started
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(20)
        if self.program:
            self.program.communicate()  # closes its pipes

    def _start(self, arguments: list[str], *, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            arguments, cwd=self.folder, env=self.environment(), stdin=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def _run(self, arguments: list[str]) -> str:
        process = self._start(arguments)
        try:
            printed, _ = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"not done within {_SECONDS} s: {arguments[-1]}") from None
        if process.returncode:
            raise RuntimeError(f"exit code {process.returncode}: {arguments[-1]}\n{printed}")
        return printed

    def _serve(self, line: str) -> str:
        """Start a server on a free port; return what it printed until it was ready, as if on port 8000."""
        server = self._start(["bash", "-c", f"exec {line} --port 0"])
        printed: list[str] = []
        threading.Thread(target=_collect, args=(server, printed), daemon=True).start()
        deadline = time.monotonic() + _SECONDS
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", "".join(printed))):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"did not start: {line}\n{''.join(printed)}")
            time.sleep(0.05)
        self.port = int(found[1])
        return re.sub(rf":{self.port}\b", ":8000", "".join(printed))


def _collect(process: subprocess.Popen[str], printed: list[str]) -> None:
    """Add the lines that a process prints to a list, until it ends."""
    assert process.stdout
    with process.stdout as lines:
        printed.extend(lines)


@contextlib.contextmanager
def reader() -> Iterator[Reader]:
    """Within the block, there is a reader with a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        for file in FILES:
            copied = Path(name, file)
            copied.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / file).is_dir() else shutil.copy)(ROOT / file, copied)
        person = Reader(Path(name))
        try:
            yield person
        finally:
            person.close()


def followed(text: str, person: Reader) -> str:
    """Return the page with its outputs replaced by those of this run."""
    printed = ""

    def replaced(match: re.Match[str]) -> str:
        nonlocal printed
        kind, content = match.groups()
        if kind == "console":
            commands = re.findall(r"^\$ (.*(?:\\\n.*)*)", content, re.MULTILINE)
            content = "".join(f"$ {command}\n{shown(person.command(command))}" for command in commands)
        elif kind == "python":
            printed = person.python(content)
        elif kind == "toml":
            person.toml(content)
        else:
            content = shown(printed)
        return f"```{kind}\n{content}```"

    return _BLOCK.sub(replaced, text)


def shown(output: str) -> str:
    """Return output for a page: without progress bars, and ending with a line break."""
    lines = [line.rpartition("\r")[2].rstrip() for line in output.splitlines()]
    return "".join(f"{line}\n" for line in lines if "it/s]" not in line)


def main() -> None:
    """Write the pages that the command line names, or all."""
    for page in map(Path, sys.argv[1:] or map(str, PAGES)):
        began = time.monotonic()
        with reader() as person:
            page.write_text(followed(page.read_text("utf-8"), person), "utf-8")
        print(f"{page}: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()

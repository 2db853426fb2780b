"""A virtual environment: the folder, and the commands that fill it."""

import ast
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT, REQUIREMENTS = HERE.parents[1], HERE.parents[1] / "requirements.txt"
PYTHON = "python{}.{}".format(*sys.version_info[:2])
PATIENCE = 30  # seconds without news after which a sign of life is printed
# Lines of output that are news: ninja's and uv's.
NEWS = r" *(\[\d+/\d+\] \S+|(?:Resolved|Download|Build|Built|Prepared|Installed).{,60})"
APT = "On Debian and Ubuntu: sudo apt install"
# What a failed command may print, and what that means.
REASONS = {
    "No space left|quota exceeded": "The disk is full. Make room, then run the same command again.",
    "ensurepip|named venv": f"Python cannot make virtual environments. {APT} {PYTHON}-venv",
    r"^\S*sh: .*?([^ :]+): (command )?not found": f"No C++ compiler was found ({{}}). {APT} g++",
    "Python.h('| file|: No such)": f"Python's header files are missing. {APT} {PYTHON}-dev",
    "memory exhausted|Killed signal": "The memory is full. Try it with MAX_JOBS=1 make setup",
    "NewConnectionError|NameResolutionError|TimeoutError|ProxyError|SSLError|Connection refused"
    "|error sending request": "The package index cannot be reached. Check the network, the proxy "
    "and what `pip config list` shows, then run the same command again.",
    r"distribution found for (\S+)|no version of (\S+)|Because (\S+) was not found": "The package "
    f"index has no {{}} for this machine ({PYTHON}). Check what `pip config list` shows.",
}
# pip's settings, which uv does not read, and the variables in which it takes them.
PIP_SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
}


class SetupError(Exception):
    """Why the set-up cannot go on, in one sentence."""


def explain(output: str) -> str:
    """Return a sentence on why a command with this output failed, or ''."""
    for pattern, sentence in REASONS.items():
        if found := re.search(pattern, output, re.M):
            return sentence.format(*filter(None, found.groups()))
    return ""


def pinned(name: str) -> str:
    """The requirement of this name, ``name==version``."""
    return re.search(rf"^{name}==[^\s;]+", REQUIREMENTS.read_text(), re.M)[0]


def cache(variable: str = "MMRES_CACHE", name: str = "mmres_plugin") -> Path:
    """The folder, made if need be, where set-ups (or uv) keep what the next one can use."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(os.environ.get(variable) or f"{home}/{name}").expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def show(news: str) -> None:
    """Print a line, on a terminal over the last one, and ask for the next sign of life."""
    signal.alarm(PATIENCE)
    start, end = ("\r\033[K      ", "") if sys.stdout.isatty() else ("      ", "\n")
    print(start + news, end=end, flush=True)


class Environment:
    """The virtual environment in the folder `path`, locked for this process and its children."""

    def __init__(self, path: Path) -> None:
        self.path, self.python, self.log = path, path / "bin/python", path / "setup.log"
        self.stamp = path / "setup.stamp"  # there while nothing is missing or half-written
        self.bytecode = cache() / f"bytecode-{PYTHON}.tar"
        self.lock = open(f"{path}.lock", "a+")  # noqa: SIM115
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.lock.seek(0)
            fault = "Another set-up of the same folder is running"
            raise SetupError(f"{fault} (process {self.lock.read()}). Wait for it.") from None
        self.lock.truncate(0)
        print(os.getpid(), end="", file=self.lock, flush=True)
        signal.signal(signal.SIGALRM, lambda *_: show("still working"))

    def run(self, *command) -> str:
        """Run a command, add its output to the log and return it, or raise SetupError."""
        options = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        options.update(pass_fds=[self.lock.fileno()], encoding="utf-8", errors="replace")
        output = ""
        with open(self.log, "a", encoding="utf-8", buffering=1) as log:
            print("\n$", *command, file=log)
            # A session of its own, so that compilers that it starts can be killed with it.
            process = subprocess.Popen(command, start_new_session=True, **options)
            signal.alarm(PATIENCE)
            try:
                for line in process.stdout:
                    output += line
                    log.write(line)
                    if news := re.match(NEWS, line):
                        show(news[1])
                status = process.wait()
            except BaseException:
                with suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                raise
            finally:
                signal.alarm(0)
                print("\r\033[K" if sys.stdout.isatty() else "", end="", flush=True)
        if status != 0:
            last = "\n".join(output.splitlines()[-15:])
            reason = explain(output) or f"{command[0]} failed. Its last lines:\n{last}"
            raise SetupError(f"{reason}\nThe whole output: {self.log}")
        return output

    def create(self) -> None:
        """Make the environment; anew if it lacks the stamp, as it may be half-written then."""
        if not self.log.exists() and any(self.path.glob("*")):
            fault = f"{self.path} exists and is not a virtual environment that a set-up has made"
            raise SetupError(f"{fault}. Move it away, or choose another: make setup VENV=.venv2")
        needed = (self.stamp, self.python, self.path / "lib" / PYTHON)
        if not all(path.exists() for path in needed):
            self.path.mkdir(exist_ok=True)
            # The log stays, so that the next run recognizes even a half-deleted folder.
            self.run("rm", "-rf", *set(self.path.glob("*")) - {self.log})
            self.run(sys.executable, "-m", "venv", "--without-pip", self.path)

    def install(self, *args) -> None:
        """Install packages with uv. The stamp goes, and who calls this puts it back at the end."""
        self.stamp.unlink(missing_ok=True)
        tools = cache() / f"{pinned('uv')}-{os.uname().machine}"  # with uv and pip in it
        if not tools.exists():
            with tempfile.TemporaryDirectory(dir=cache()) as new:
                self.run(sys.executable, "-m", "venv", new)
                options = ("--target", f"{new}/tools", pinned("uv"), pinned("pip"))
                self.run(f"{new}/bin/python", "-m", "pip", "install", *options)
                with suppress(OSError):  # another set-up may have put them there by now
                    Path(new, "tools").rename(tools)
        listed = subprocess.check_output([self.python, tools / "pip", "config", "list"], text=True)
        given = {}
        for section in ("global", "install", ":env:"):  # the later ones win
            found = re.findall(rf"^{section}\.(?:default-)?(\S+?)=(.*)$", listed, re.M)
            given |= {name: ast.literal_eval(value) for name, value in found}
        for name in PIP_SETTINGS.keys() & given.keys():  # what is set for uv itself wins
            values = map(os.path.expanduser, given[name].split())
            text = ("," if name == "find-links" else " ").join(values)
            os.environ.setdefault(PIP_SETTINGS[name], text)
        os.environ.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")  # all alike, as for pip
        no_index = ["--no-index"] * (given.get("no-index") in ("1", "true", "yes"))
        command = [tools / "bin/uv", "pip", "install", "--python", self.python, *no_index, *args]
        try:  # our versions are exact: where all are in uv's cache, no index need be asked
            self.run(*command, "--offline")
        except SetupError:
            self.run(*command)

    def restore_bytecode(self) -> None:
        """Put in what Python compiled for the last environment: compiling all takes a minute."""
        with suppress(OSError, tarfile.TarError), tarfile.open(self.bytecode) as tar:
            # uv links files from its cache, with their times; by these Python knows that bytecode
            # is right. We leave out packages that are not here: the folder alone could be imported.
            here = [one for one in tar if (self.path / one.name).parents[1].exists()]
            tar.extractall(self.path, here)

    def keep_bytecode(self) -> None:
        """Keep the bytecode for the next environment."""
        new = self.path / self.bytecode.name
        with tarfile.open(new, "w") as tar:
            for path in self.path.glob("lib/python*/site-packages/**/*.pyc"):
                tar.add(path, path.relative_to(self.path))
        shutil.move(new, self.bytecode)

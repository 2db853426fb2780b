"""Run a command: its progress on the screen, its output in a log, its children under control."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

PYTHON = "python{}.{}".format(*sys.version_info[:2])
PATIENCE = 30  # seconds without output after which a sign of life is printed
# Lines that are printed where there is no terminal: from ninja and from uv.
NEWS = r"^ *(\[\d+/\d+\] \S+|(?:Resolved|Download|Build|Built|Prepared|Installed).{,60})"
# What a failed command may print, and what that means.
REASONS = {
    "No space left|quota exceeded": "The disk is full. Make room, then run the same command again.",
    "ensurepip|No module named venv": "Python cannot make virtual environments. On Debian and "
    f"Ubuntu: sudo apt install {PYTHON}-venv",
    r"^\S*sh: .*?([^ :]+): (?:command )?not found": "No C++ compiler was found ({}); it is needed "
    "to compile mmcv's operators. On Debian and Ubuntu: sudo apt install g++",
    "Python.h: No such|'Python.h' file not found": "Python's header files are missing; they are "
    f"needed to compile mmcv's operators. On Debian and Ubuntu: sudo apt install {PYTHON}-dev",
    "NewConnectionError|NameResolutionError|TimeoutError|ProxyError|SSLError|Connection refused"
    "|error sending request": "The package index cannot be reached. Check the network, the proxy "
    "and what `pip config list` shows, then run the same command again.",
    r"distribution found for (\S+)|no version of (\S+)|Because (\S+) was not found": "The package "
    f"index has no {{}} for this machine ({PYTHON}, {sysconfig.get_platform()}). Check what "
    "`pip config list` shows.",
    "Killed signal terminated program|virtual memory exhausted": "The compiler ran out of memory. "
    "Run it with fewer at once: MAX_JOBS=1 make setup",
}


class SetupError(Exception):
    """Why the set-up cannot go on, in one sentence."""


def cache() -> Path:
    """Where set-ups of this user keep what the next one can use."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("MMRES_CACHE") or f"{home}/mmres_plugin").expanduser().absolute()


def explain(output: str) -> str:
    """Return a sentence on why a command with this output failed, or ''."""
    for pattern, sentence in REASONS.items():
        if found := re.search(pattern, output, re.M):
            return sentence.format(*filter(None, found.groups()))
    return ""


def plain(line: bytes) -> str:
    """A line of output without colours and what a terminal overwrites; '' for a progress bar."""
    text = re.split(r"\x1b\[\d*[A-L]|\r(?!$)", line.decode(errors="replace"))[-1]
    text = re.sub(r"\x1b\[[\d;]*m", "", text).rstrip() + "\n"
    return "" if re.search("[░█]|-{9}|iB/", text) else text


def run(command: list, log: Path, **options) -> str:
    """Run a command, add its output to `log` and return it, or raise SetupError.

    On a terminal uv draws its own progress bars. `options` are Popen's.
    """
    terminal = sys.stdout.isatty()
    start, end = ("\r\033[K      ", "") if terminal else ("      ", "\n")
    # What uv says of packages that its cache lacks is no error to the user.
    bars = terminal and Path(command[0]).name == "uv" and "--offline" not in command
    reader, writer = pty.openpty() if bars else os.pipe()
    # A session of its own: an interruption ends the compilers that pip started, too.
    options.update(stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, start_new_session=True)
    output, data, rest = "", None, b""
    with open(log, "a", encoding="utf-8") as log_file:
        print("\n$", *command, file=log_file, flush=True)
        process = subprocess.Popen(command, **options)
        os.close(writer)
        try:
            while data != b"":
                if not select.select([reader], [], [], PATIENCE)[0]:
                    print(start + "still at work", end=end, flush=True)
                    continue
                data = b""
                with contextlib.suppress(OSError):  # how a pseudo-terminal ends
                    data = os.read(reader, 65536)
                *lines, rest = (rest + (data or (rest and b"\n"))).split(b"\n")
                text = "".join(map(plain, lines))
                output += text
                print(text, end="", file=log_file, flush=True)
                if bars:
                    os.write(sys.stdout.fileno(), data)
                for news in [] if bars else re.findall(NEWS, text, re.M):
                    print(start + news, end=end, flush=True)
            status = process.wait()
        except BaseException:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                    os.killpg(process.pid, number)
                    process.wait(timeout=5)
            raise
        finally:
            os.close(reader)
            print("\r\033[K\033[?25h" if terminal else "", end="", flush=True)
    if status != 0:
        name, last = " ".join(map(str, command[:4])), "\n".join(output.splitlines()[-15:])
        reason = explain(output) or f"{name} failed. Its last lines:\n{last}"
        raise SetupError(f"{reason}\nThe whole output: {log}")
    return output

"""Run a long command: its progress on the screen, its output in a log, its children under control.

Read by whatever Python is there, also one that is too old: plain syntax and standard library only.
"""

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

PATIENCE = 30  # seconds without news after which a line is printed where there is no terminal
PAUSE = 3  # seconds between two lines there, so that small downloads do not flood a log


class SetupError(Exception):
    """A problem that the user can solve; its text is all that is shown."""


class CommandError(Exception):
    """A command failed.

    Args:
        command (list): The command.
        lines (list): Its output.
    """

    def __init__(self, command: list, lines: list) -> None:
        super().__init__("{} failed".format(" ".join(map(str, command[:4]))))
        self.lines = lines


class Progress:
    """One line that is rewritten on a terminal; elsewhere a new line now and then."""

    def __init__(self, stream=None) -> None:
        self.stream = stream or sys.stdout
        self.start = time.monotonic()
        self.text, self.tenth, self.printed = "", -1, self.start

    def update(self, text: str = "", fraction=None) -> None:
        """Show `text` and how much is done (0 to 1); without arguments only the clock moves on."""
        if text:
            self.text = text if fraction is None else f"{text} · {fraction:.0%}"
        tenth = -1 if fraction is None else int(fraction * 10)
        now = time.monotonic()
        line = f"      {self.text} · {clock(now - self.start)}"
        if self.stream.isatty():
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(f"\r\033[K{line[:width]}")
        elif now - self.printed > PATIENCE or (
            tenth not in (-1, self.tenth) and now - self.printed > PAUSE
        ):
            self.stream.write(line + "\n")
            self.tenth, self.printed = tenth, now
        self.stream.flush()

    def close(self) -> None:
        """Leave the screen to the next line."""
        if self.stream.isatty():
            self.stream.write("\r\033[K")
            self.stream.flush()


def clock(seconds: float) -> str:
    """Minutes and seconds, such as ``3:07``."""
    return "{}:{:02d}".format(*divmod(int(seconds), 60))


class OutputReader:
    """Turns the output of pip and ninja into a text and a fraction for `Progress`."""

    def __init__(self) -> None:
        self.file = ""

    def read(self, line: str):
        """Return ``(text, fraction or None)`` for a line that tells of progress, else None."""
        line = line.strip()
        found = re.match(r"\[(\d+)/(\d+)\] ", line)  # ninja, while it compiles
        if found:
            done, total = map(int, found.groups())
            return f"compiled {done} of {total} files", done / total
        found = re.match(r"Progress (\d+) of (\d+)$", line)  # pip --progress-bar raw
        if found:
            done, total = map(int, found.groups())
            return f"downloading {self.file} ({total / 1e6:.0f} MB)", done / max(total, 1)
        found = re.match(r"Downloading (\S+)", line)
        if found:
            self.file = re.split("-(?:cp|py)[0-9]", found.group(1).split("/")[-1])[0]
            return f"downloading {self.file}", None
        found = re.match(r"Installing collected packages: (.*)", line)
        if found:
            return "installing {} packages".format(found.group(1).count(",") + 1), None
        found = re.match(r"(?:Collecting|Building wheel for) ([^\s=]+)", line)
        if found:
            return line.split(" (")[0][0].lower() + line.split(" (")[0][1:], None
        return None


def run(command: list, log, env=None, cwd=None, keep_open: tuple = ()) -> list:
    """Run a command to its end and return the lines of its output.

    Args:
        command (list): Program and arguments.
        log (Path): File that the output is added to.
        env (dict): Its environment; by default ours.
        cwd (Path): Its working directory; by default ours.
        keep_open (tuple): File descriptors that the command and its children inherit.

    Raises:
        CommandError: If it ends with another status than 0.
    """
    lines, news, progress, reader = [], queue.Queue(), Progress(), OutputReader()
    with open(str(log), "a", encoding="utf-8") as log_file:
        log_file.write("\n$ {}\n".format(" ".join(map(str, command))))
        # A session of its own: an interruption ends the compilers that pip started, too.
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=str(cwd) if cwd else None,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            pass_fds=keep_open,
        )

        def listen() -> None:
            for line in process.stdout:
                news.put(line)
            news.put(None)

        threading.Thread(target=listen, daemon=True).start()
        try:
            while True:
                try:
                    line = news.get(timeout=1)
                except queue.Empty:
                    progress.update()
                    continue
                if line is None:
                    break
                lines.append(line.rstrip("\n"))
                log_file.write(line)
                log_file.flush()
                state = reader.read(line)
                if state:
                    progress.update(*state)
        except BaseException:
            stop(process)
            raise
        finally:
            progress.close()
    if process.wait() != 0:
        raise CommandError(command, lines)
    return lines


def stop(process) -> None:
    """End a process and all its children; wait until it is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=5)
        except (ProcessLookupError, PermissionError):
            return
        except subprocess.TimeoutExpired:
            continue

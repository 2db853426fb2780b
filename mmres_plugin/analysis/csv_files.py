"""CSV files of results."""

import csv
from pathlib import Path

from ..errors import user_error
from ..weights.files import atomic_write


def write_csv(rows: list[dict], path: Path) -> None:
    """Write a line for each row, under a line with the names of the columns."""
    with atomic_write(path) as half, half.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path, texts: tuple[str, ...], numbers: tuple[str, ...]) -> list[dict]:
    """The rows of a file that has these columns, among others, and at least one row.

    Raises:
        UserError: If it cannot be read, lacks such a column or has no row.
    """
    with user_error(f"{path} cannot be read"), path.open(newline="") as file:
        rows = list(csv.DictReader(file, restval=""))  # where a line is cut short
        missing = [name for name in (*texts, *numbers) if not rows or name not in rows[0]]
        if missing:
            raise ValueError(f"no row with {', '.join(missing)}")
        return [{**row, **{name: float(row[name]) for name in numbers}} for row in rows]

"""What a training writes down while it goes: CSV files and TensorBoard events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import csv
import logging
from pathlib import Path
from typing import Any

from recon3d_core.training.checkpoints import whole_file

logger = logging.getLogger(__name__)

STEPS = 'log.csv'
VALIDATIONS = 'validation.csv'


class Table:
    """A CSV file that rows are added to.

    Attributes:
        rows: All rows, those of an earlier run included.
    """

    def __init__(self, path: Path, columns: Sequence[str], first_step: int) -> None:
        """Begin a table, or go on with the rows up to a step.

        Args:
            path: The file.
            columns: Names of the columns; the first is `step`.
            first_step: Rows of later steps are dropped: they will be made again.
        """
        self.path = path
        self.columns = list(columns)
        self.rows = [row for row in read_table(path) if row['step'] <= first_step]
        with whole_file(path) as partial, partial.open('w', newline='', encoding='utf-8') as file:
            writer = csv.DictWriter(file, self.columns, extrasaction='ignore')
            writer.writeheader()
            writer.writerows(self.rows)

    def add(self, row: Mapping[str, float]) -> None:
        """Add a row, on the disk too."""
        self.rows.append(dict(row))
        with self.path.open('a', newline='', encoding='utf-8') as file:
            csv.DictWriter(file, self.columns, extrasaction='ignore').writerow(row)


def read_table(path: Path) -> list[dict[str, float]]:
    """Return the rows of a CSV file of numbers; those that a full disk cut are left out."""
    if not path.is_file():
        return []
    rows = []
    with path.open(newline='', encoding='utf-8', errors='replace') as file:
        for row in csv.DictReader(file):
            try:
                rows.append({key: float(value) for key, value in row.items()})
            except (TypeError, ValueError):
                continue
    return [row for row in rows if 'step' in row]


class Events:
    """TensorBoard events, where TensorBoard is installed."""

    def __init__(self, folder: Path, first_step: int) -> None:
        """Open the log; events of an earlier run from `first_step` on are void."""
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            logger.warning('tensorboard is not installed: no events are written')
            return
        self._writer = SummaryWriter(str(folder), purge_step=first_step or None)

    def add(self, step: int, values: Mapping[str, float], group: str) -> None:
        """Add scalars."""
        for name, value in values.items():
            if self._writer is not None and name != 'step':
                self._writer.add_scalar(f'{group}/{name}', value, step)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()

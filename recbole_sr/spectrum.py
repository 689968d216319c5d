"""The spectrum of each table of a checkpoint: ``recbole-sr spectrum CHECKPOINT``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from recbole_sr.tensors import read_tensors

__all__ = ["TableSpectrum", "main", "singular_values", "spectra"]


@dataclass(frozen=True)
class TableSpectrum:
    """Numbers about the singular values of one table.

    Attributes:
        name: of the parameter.
        shape: ``(N, D)``.
        stable_rank: sum of squares over the largest square, in ``[1, min(N, D)]``.
        effective_rank: exponential of the entropy of the singular values divided by their sum, in
            ``[1, min(N, D)]``. Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007.
        condition_number: largest over smallest; None where the smallest is 0.
        singular_values: largest first, ``min(N, D)`` of them.

    """

    name: str
    shape: tuple[int, int]
    stable_rank: float
    effective_rank: float
    condition_number: float | None
    singular_values: list[float]

    @classmethod
    def of(cls, name: str, table: Tensor) -> TableSpectrum:
        """The spectrum of a table ``(N, D)``, floating point, N and D at least 1.

        Both ranks of an all-zero table are 0.

        Example:
            >>> spectrum = TableSpectrum.of("eye", torch.eye(4))
            >>> spectrum.stable_rank, round(spectrum.effective_rank, 6), spectrum.condition_number
            (4.0, 4.0, 1.0)

        """
        values = singular_values(table)
        shape = (table.shape[0], table.shape[1])
        if not values.any():
            return cls(name, shape, 0.0, 0.0, None, values.tolist())
        shares = values / values.sum()
        return cls(
            name,
            shape,
            (values.square().sum() / values[0].square()).item(),
            torch.special.entr(shares).sum().exp().item(),
            (values[0] / values[-1]).item() if values[-1] > 0 else None,
            values.tolist(),
        )


def singular_values(table: Tensor) -> Tensor:
    """Singular values, largest first, in float64 on the CPU.

    Args:
        table: ``(N, D)``, floating point.

    Returns:
        ``(min(N, D),)``; NaN where the table is not finite.

    Example:
        >>> singular_values(torch.diag(torch.tensor([1.0, 3.0]))).tolist()
        [3.0, 1.0]

    """
    table = table.detach().to("cpu", torch.float64)
    if not table.isfinite().all():
        return table.new_full((min(table.shape),), torch.nan)
    return torch.linalg.svdvals(table)


def spectra(tensors: Mapping[str, Tensor]) -> list[TableSpectrum]:
    """The spectrum of every floating-point matrix, in order; others are left out.

    RecBole's padding row 0 counts as any other row here: a checkpoint does not say which tables
    have one.
    """
    return [
        TableSpectrum.of(name, tensor)
        for name, tensor in tensors.items()
        if tensor.ndim == 2 and tensor.numel() and tensor.is_floating_point()
    ]


def main(arguments: Sequence[str]) -> None:
    """``recbole-sr spectrum``."""
    parser = argparse.ArgumentParser(
        prog="recbole-sr spectrum",
        description="Spectrum of each two-dimensional table of a RecBole checkpoint. Nothing in "
        "the file is run: only tensors are read.",
    )
    parser.add_argument("checkpoint", help="file that RecBole or this package saved")
    parser.add_argument("--json", action="store_true", help="all singular values, as JSON")
    given = parser.parse_args(arguments)
    found = spectra(read_tensors(given.checkpoint))
    print(json.dumps([asdict(one) for one in found], indent=1) if given.json else _table(found))


def _table(found: Sequence[TableSpectrum]) -> str:
    rows: list[list[Any]] = [["table", "shape", "stable", "effective", "condition", "largest five"]]
    for one in found:
        condition = "singular" if one.condition_number is None else f"{one.condition_number:.4g}"
        rows.append(
            [
                one.name,
                f"{one.shape[0]} x {one.shape[1]}",
                f"{one.stable_rank:.3f}",
                f"{one.effective_rank:.3f}",
                condition,
                " ".join(f"{value:.4g}" for value in one.singular_values[:5]),
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )

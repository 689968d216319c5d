"""The singular values of tables, and numbers that sum them up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["TableSpectrum", "singular_values", "spectra"]


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
        stable = (values / values[0]).square().sum().item()
        effective = torch.special.entr(values / values.sum()).sum().exp().item()
        condition = (values[0] / values[-1]).item() if values[-1] > 0 else None
        return cls(name, shape, stable, effective, condition, values.tolist())


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
    """The spectrum of every dense floating-point matrix, in order; others are left out.

    RecBole's padding row 0 counts as any other row here: a checkpoint does not say which tables
    have one.
    """
    return [
        TableSpectrum.of(name, tensor)
        for name, tensor in tensors.items()
        if tensor.ndim == 2
        and tensor.numel()
        and tensor.is_floating_point()
        and tensor.layout is torch.strided
    ]

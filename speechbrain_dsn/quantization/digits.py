"""Sequential digits: drawn, disturbed, and read row by row.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["COLUMNS", "ROWS", "DigitReader", "draw_digits", "train_reader"]

# Five columns by seven rows.
GLYPHS = (
    "01110 10001 10011 10101 11001 10001 01110",
    "00100 01100 00100 00100 00100 00100 01110",
    "01110 10001 00001 00010 00100 01000 11111",
    "11111 00010 00100 00010 00001 10001 01110",
    "00010 00110 01010 10010 11111 00010 00010",
    "11111 10000 11110 00001 00001 10001 01110",
    "00110 01000 10000 11110 10001 10001 01110",
    "11111 00001 00010 00100 01000 01000 01000",
    "01110 10001 10001 01110 10001 10001 01110",
    "01110 10001 10001 01111 00001 00010 01100",
)
ROWS, COLUMNS = 10, 8
NOISE = 0.3


def draw_digits(
    count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Digits of random place and contrast, in noise.

    Arguments
    ---------
    count : int
        How many.
    generator : torch.Generator
        Fixes them.

    Returns
    -------
    tuple of Tensor
        Pictures ``[count, ROWS, COLUMNS]`` and classes ``[count]``.

    Example
    -------
    >>> x, y = draw_digits(3, torch.Generator().manual_seed(0))
    >>> x.shape, y.shape
    (torch.Size([3, 10, 8]), torch.Size([3]))
    """
    glyphs = torch.tensor(
        [[list(map(float, row)) for row in each.split()] for each in GLYPHS]
    )
    high, wide = glyphs.shape[1:]

    def whole(end: int) -> Tensor:
        return torch.randint(end, (count,), generator=generator)

    label = whole(len(GLYPHS))
    top, left = whole(ROWS - high + 1), whole(COLUMNS - wide + 1)
    contrast = 0.7 + 0.6 * torch.rand(count, generator=generator)
    x = NOISE * torch.randn(count, ROWS, COLUMNS, generator=generator)
    rows = top[:, None, None] + torch.arange(high)[:, None]
    columns = left[:, None, None] + torch.arange(wide)
    place = (torch.arange(count)[:, None, None], rows, columns)
    x[place] += contrast[:, None, None] * glyphs[label]
    return x, label


class DigitReader(nn.Module):
    """A GRU over rows, and a class after the last one.

    Arguments
    ---------
    units : int
        Of the GRU.

    Example
    -------
    >>> DigitReader(8)(torch.randn(2, ROWS, COLUMNS)).shape
    torch.Size([2, 10])
    """

    def __init__(self, units: int = 32) -> None:
        super().__init__()
        self.gru = nn.GRU(COLUMNS, units, batch_first=True)
        self.head = nn.Linear(units, len(GLYPHS))

    def forward(self, x: Tensor) -> Tensor:
        """Logits.

        Arguments
        ---------
        x : Tensor
            ``[B, ROWS, COLUMNS]``.

        Returns
        -------
        Tensor
            ``[B, 10]``.
        """
        return self.head(self.gru(x)[0][:, -1])


def train_reader(
    reader: DigitReader, steps: int, generator: torch.Generator
) -> None:
    """Trains on new digits in every step.

    Arguments
    ---------
    reader : DigitReader
        Changed in place.
    steps : int
        Of 128 digits each.
    generator : torch.Generator
        Fixes them.
    """
    optimiser = torch.optim.Adam(reader.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        x, label = draw_digits(128, generator)
        loss = F.cross_entropy(reader(x), label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()

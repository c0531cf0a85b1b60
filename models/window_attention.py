"""Attention between the windows of a session: to earlier ones for live use, or to all offline.

How far apart two windows are is a learned number for each head, which begins as a slope
(Press et al. 2022, arXiv 2108.12409). The causal form looks back a fixed number of windows and
keeps their keys and values, so that a window costs the same however long the session has run.
"""

from typing import Any

import torch
from torch import Tensor, nn

from physioemo.errors import CallError

__all__ = ["PRESETS", "CausalTransformer", "OfflineTransformer"]

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "embed_dim": 32, "n_heads": 4, "head_dim": 8, "mlp_dim": 64, "depth": 2,
        "memory_windows": 16,
    },
    "study": {
        "embed_dim": 256, "n_heads": 8, "head_dim": 32, "mlp_dim": 512, "depth": 4,
        "memory_windows": 64,
    },
}  # fmt: skip

State = tuple[Tensor, ...]


class _WindowTransformer(nn.Module):
    """What both forms share."""

    def __init__(
        self,
        *,
        embed_dim: int = 32,
        n_heads: int = 4,
        head_dim: int = 8,
        mlp_dim: int = 64,
        depth: int = 2,
        memory_windows: int = 16,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if memory_windows < 2 or depth < 1:
            raise CallError(
                f"found {depth} blocks with a memory of {memory_windows} windows, expected one or "
                "more blocks and two or more windows"
            )
        self.embed_dim, self.memory_windows = embed_dim, memory_windows
        self.blocks = nn.ModuleList(
            _Block(embed_dim, n_heads, head_dim, mlp_dim, memory_windows, dropout)
            for _ in range(depth)
        )


class CausalTransformer(_WindowTransformer):
    """Each window attends to itself and to earlier ones.

    Parameters
    ----------
    embed_dim, n_heads, head_dim, mlp_dim, depth : int
        Sizes.
    memory_windows : int
        How many windows a block looks at, the newest among them.
    dropout : float
        In the blocks.

    Raises
    ------
    CallError
        If there is no block or nothing to look back at.
    """

    offline_only = False

    @property
    def field_windows(self) -> int:
        """How many windows an output depends on, the newest among them."""
        return 1 + len(self.blocks) * (self.memory_windows - 1)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """All windows at once: ``(batch, window, embed)`` to the same.

        Parameters
        ----------
        x : Tensor, shape (batch, window, embed)
        known : Tensor of bool, shape (batch, window)
            A window that is not known is attended to by itself alone.
        """
        index = torch.arange(x.shape[1], device=x.device)
        lag = index[:, None] - index  # of the key behind the query
        near = (lag >= 0) & (lag < self.memory_windows)
        seen = near & (known.unsqueeze(1) | (lag == 0))
        for block in self.blocks:
            x = block(x, lag.clamp(0, self.memory_windows - 1), seen)
        return x

    def start(self) -> State:
        """Return the state before the first window: nothing is known of any."""
        weight = next(self.parameters())
        before = weight.new_zeros(self.memory_windows - 1, dtype=torch.bool)
        caches = [cache for block in self.blocks for cache in block.start()]  # type: ignore[operator]
        return (before, *caches)

    def step(self, x: Tensor, known: Tensor, state: State) -> tuple[Tensor, State]:
        """One window ``(embed,)`` to the same, and the state after it."""
        always = torch.ones_like(known).unsqueeze(0)  # itself
        seen = torch.cat([state[0], always])
        after = [torch.cat([state[0], known.unsqueeze(0)])[1:]]
        for i, block in enumerate(self.blocks):
            x, *caches = block.step(x, seen, *state[1 + 2 * i : 3 + 2 * i])  # type: ignore[operator]
            after += caches
        return x, tuple(after)


class OfflineTransformer(_WindowTransformer):
    """Each window attends to all of its sequence, later ones too: never for live use.

    Parameters
    ----------
    embed_dim, n_heads, head_dim, mlp_dim, depth : int
        Sizes.
    memory_windows : int
        Beyond this distance, earlier or later, all windows count as equally far.
    dropout : float
        In the blocks.

    Raises
    ------
    CallError
        If there is no block or no distance.
    """

    offline_only = True

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """All windows at once: ``(batch, window, embed)`` to the same.

        Parameters
        ----------
        x : Tensor, shape (batch, window, embed)
        known : Tensor of bool, shape (batch, window)
            A window that is not known is attended to by itself alone.
        """
        index = torch.arange(x.shape[1], device=x.device)
        lag = index[:, None] - index
        far = self.memory_windows - 1
        seen = known.unsqueeze(1) | (lag == 0)
        for block in self.blocks:
            x = block(x, lag.clamp(-far, far), seen)
        return x


class _Block(nn.Module):
    """Attention and a perceptron, each normalised first and beside what came in."""

    def __init__(
        self,
        embed_dim: int,
        n_heads: int,
        head_dim: int,
        mlp_dim: int,
        memory_windows: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.n_heads, self.head_dim, self.memory = n_heads, head_dim, memory_windows
        self.norm = nn.LayerNorm(embed_dim)
        self.qkv = nn.Linear(embed_dim, 3 * n_heads * head_dim, bias=False)
        self.out = nn.Linear(n_heads * head_dim, embed_dim)
        self.drop = nn.Dropout(dropout)
        self.mlp = nn.Sequential(
            nn.LayerNorm(embed_dim),
            nn.Linear(embed_dim, mlp_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, embed_dim),
        )
        # Column memory − 1 is lag 0, later ones are the past, earlier ones the future.
        distance = torch.arange(1 - memory_windows, memory_windows).abs()
        slopes = 0.5 ** torch.arange(n_heads)
        self.bias = nn.Parameter(-slopes[:, None] * distance)  # (head, 2 memory − 1)

    def forward(self, x: Tensor, lag: Tensor, seen: Tensor) -> Tensor:
        qkv = self.qkv(self.norm(x)).unflatten(-1, (3, self.n_heads, self.head_dim))
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))  # (batch, head, window, dim)
        score = q @ k.transpose(-1, -2) * self.head_dim**-0.5
        score = score + self.bias[:, lag + self.memory - 1]  # (batch, head, query, key)
        weight = score.masked_fill(~seen.unsqueeze(1), -torch.inf).softmax(dim=-1)
        attended = (self.drop(weight) @ v).transpose(1, 2).flatten(2)
        x = x + self.drop(self.out(attended))
        return x + self.mlp(x)

    def start(self) -> State:
        shape = (self.memory - 1, self.n_heads, self.head_dim)
        return self.bias.new_zeros(shape), self.bias.new_zeros(shape)

    def step(
        self, x: Tensor, seen: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(self.norm(x)).reshape(3, self.n_heads, self.head_dim)
        keys, values = torch.cat([keys, k[None]]), torch.cat([values, v[None]])
        score = (keys * q).sum(dim=-1) * self.head_dim**-0.5  # (memory, head), the oldest first
        score = score + self.bias[:, self.memory - 1 :].flip(1).T
        weight = score.masked_fill(~seen[:, None], -torch.inf).softmax(dim=0)
        x = x + self.out((weight.unsqueeze(-1) * values).sum(dim=0).flatten())
        return x + self.mlp(x), keys[1:], values[1:]

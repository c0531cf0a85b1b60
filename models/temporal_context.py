"""Context over the windows of a session: what came before helps to say what is felt now.

A context reads one vector per window, such as the features of a fusion. Causal ones are stepped
window by window and know nothing of what follows; :meth:`ContextModel.run` is the fold of
:meth:`ContextModel.step`, bit for bit, however a sequence is cut into chunks, and
:meth:`ContextModel.forward` computes all windows of a batch at once for training, equal within
1e-4. A context that sees the future says ``offline`` in its name and has ``offline_only``; whatever
loads a model for live use calls :func:`require_causal`.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d, pad

from physioemo.errors import CallError, SignalError
from physioemo.models.fused import PartRow
from physioemo.models.fusion import FusionOutput

__all__ = [
    "CONTEXTS",
    "PRESETS",
    "ContextModel",
    "ContextOutput",
    "ContextState",
    "SingleWindow",
    "require_causal",
    "window_vectors",
]

_M = "physioemo.models"
CONTEXTS: dict[str, PartRow] = {
    "single": PartRow(
        f"{_M}.temporal_context", "SingleWindow", "No context: the compulsory baseline."
    ),
    "causal-convolution": PartRow(
        f"{_M}.causal_convolution", "CausalConvolution", "Dilated convolution of earlier windows."
    ),
    "causal-transformer": PartRow(
        f"{_M}.window_attention", "CausalTransformer", "Attention to earlier windows."
    ),
    "offline-transformer": PartRow(
        f"{_M}.window_attention", "OfflineTransformer", "Attention to all windows, later ones too."
    ),
}
PRESETS: dict[str, dict[str, Any]] = {"tiny": {"embed_dim": 32}, "study": {"embed_dim": 256}}


class ContextState(NamedTuple):
    """What a causal model remembers of the windows so far.

    Parameters
    ----------
    known : Tensor of bool, shape (field,)
        Which of the last windows were there.
    layers : tuple of Tensor
        What the context keeps.
    """

    known: Tensor
    layers: tuple[Tensor, ...]


class ContextOutput(NamedTuple):
    """What a context model says of windows.

    Parameters
    ----------
    logits : Tensor, shape (..., dimension, class)
        Where it abstains, the logarithm of the training prior.
    abstain : Tensor of bool, shape (...)
        True where none of the windows that it could look at is there.
    """

    logits: Tensor
    abstain: Tensor


class SingleWindow(nn.Module):
    """Each window alone, through a perceptron: what a context has to beat.

    Parameters
    ----------
    embed_dim : int
        Width.
    dropout : float
        In the perceptron.
    """

    offline_only = False
    field_windows = 1

    def __init__(self, *, embed_dim: int = 32, dropout: float = 0.1) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.perceptron = nn.Sequential(
            nn.LayerNorm(embed_dim),
            nn.Linear(embed_dim, 2 * embed_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * embed_dim, embed_dim),
        )

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """``(batch, window, embed)`` to the same."""
        return x + self.perceptron(x)

    def start(self) -> tuple[Tensor, ...]:
        """Return the state, which is nothing."""
        return ()

    def step(
        self, x: Tensor, known: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One window ``(embed,)`` to the same."""
        return x + self.perceptron(x), state


class ContextModel(nn.Module):
    """Classify each window of a sequence from its vector and those of other windows.

    Parameters
    ----------
    in_dim : int
        Length of a window's vector.
    dimensions : sequence of str
        Rated dimensions.
    n_outputs : int
        Classes of each.
    context : str
        Row of :data:`CONTEXTS`.
    preset : str
        Of the context.
    context_arguments : mapping, optional
        Arguments that win over the preset.
    window_dropout : float
        Probability with which a window is hidden in training, so that missing ones are known.

    Raises
    ------
    CallError
        If the context, the preset or an argument is not known, or there is no dimension.
    """

    prior_logits: Tensor

    def __init__(
        self,
        *,
        in_dim: int,
        dimensions: Sequence[str],
        n_outputs: int = 2,
        context: str = "causal-convolution",
        preset: str = "tiny",
        context_arguments: Mapping[str, Any] | None = None,
        window_dropout: float = 0.05,
    ) -> None:
        super().__init__()
        if not dimensions or not 0 <= window_dropout < 1:
            raise CallError(
                f"found the dimensions {list(dimensions)} and window_dropout={window_dropout}, "
                "expected one or more and 0 to below 1"
            )
        self._config = {
            "in_dim": in_dim,
            "dimensions": list(dimensions),
            "n_outputs": n_outputs,
            "context": context,
            "preset": preset,
            "context_arguments": dict(context_arguments or {}),
            "window_dropout": window_dropout,
        }
        self.context: Any = _build_context(context, preset, context_arguments or {})
        width = int(self.context.embed_dim)  # type: ignore[arg-type]
        self.shape, self.window_dropout = (len(dimensions), n_outputs), window_dropout
        self.project = nn.Linear(in_dim, width)
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, len(dimensions) * n_outputs)
        )
        self.register_buffer("prior_logits", torch.zeros(self.shape))

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments, ready for JSON."""
        return dict(self._config)

    @property
    def offline_only(self) -> bool:
        """Whether it sees later windows, so that no live session may load it."""
        return bool(self.context.offline_only)

    def forward(self, x: Tensor) -> ContextOutput:
        """Return logits of all windows of some sequences.

        Parameters
        ----------
        x : Tensor, shape (batch, window, in_dim)
            A window with a NaN is missing; so are those that fill a shorter sequence up.

        Raises
        ------
        SignalError
            If the shape is another.
        """
        self._check(x, 3, "(batch, window, {})")
        known = torch.isfinite(x).all(dim=-1)
        if self.training and self.window_dropout:
            known = known & (torch.rand(known.shape, device=x.device) >= self.window_dropout)
        abstain = ~self._seen(known)
        return ContextOutput(*self._said(self.context(self._projected(x, known), known), abstain))

    def start(self) -> ContextState:
        """Return the state before the first window of a session.

        Raises
        ------
        CallError
            If the context sees the future.
        """
        require_causal(self)
        known = torch.zeros(
            self.context.field_windows, dtype=torch.bool, device=self.prior_logits.device
        )
        return ContextState(known, self.context.start())

    @torch.no_grad()
    def step(self, x: Tensor, state: ContextState) -> tuple[ContextOutput, ContextState]:
        """Return logits (dimension, class) of the newest window, and the state after it.

        Parameters
        ----------
        x : Tensor, shape (in_dim,)
            NaN if the window is missing.
        state : ContextState
            Of the window before, or :meth:`start`; it is left as it is.

        Raises
        ------
        SignalError
            If the shape is another.
        CallError
            If the model is in training mode.
        """
        self._check(x, 1, "({},)")
        if self.training:
            raise CallError("found a model in training mode, expected eval; call eval() first")
        now = torch.isfinite(x).all()
        known = torch.cat([state.known[1:], now.unsqueeze(0)])
        features, layers = self.context.step(self._projected(x, now), now, state.layers)
        said = ContextOutput(*self._said(features, ~known.any()))
        return said, ContextState(known, layers)

    @torch.no_grad()
    def run(self, x: Tensor, state: ContextState) -> tuple[ContextOutput, ContextState]:
        """Return logits (window, dimension, class) of a stretch of windows: the fold of `step`.

        Parameters
        ----------
        x : Tensor, shape (window, in_dim)
            In order.
        state : ContextState
            After the window before them.
        """
        self._check(x, 2, "(window, {})")
        said = []
        for window in x:
            output, state = self.step(window, state)
            said.append(output)
        if not said:
            return ContextOutput(x.new_empty(0, *self.shape), state.known.new_empty(0)), state
        logits, abstain = (torch.stack(part) for part in zip(*said, strict=True))
        return ContextOutput(logits, abstain), state

    @torch.no_grad()
    def set_prior(self, share: Tensor) -> None:
        """Keep the shares of classes in training, shape (dimension, class)."""
        self.prior_logits.copy_(share.clamp(min=1e-6).log())

    def _projected(self, x: Tensor, known: Tensor) -> Tensor:
        # Chosen before and after: a fresh tensor for every window, and no gradient of NaN.
        there = known.unsqueeze(-1)
        return torch.where(there, self.project(torch.where(there, x, 0.0)), 0.0)

    def _said(self, features: Tensor, abstain: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.head(features).unflatten(-1, self.shape)
        prior = self.prior_logits.to(logits.dtype)
        return torch.where(abstain[..., None, None], prior, logits), abstain

    def _seen(self, known: Tensor) -> Tensor:
        """Return for which windows any that they depend on is known."""
        if self.offline_only:
            return known.any(dim=1, keepdim=True).expand_as(known)
        field = self.context.field_windows
        return max_pool1d(pad(known.float(), (field - 1, 0)), field, stride=1) > 0

    def _check(self, x: Tensor, n_axes: int, expected: str) -> None:
        width = self._config["in_dim"]
        if x.ndim != n_axes or x.shape[-1] != width:
            raise SignalError(
                f"found windows of shape {tuple(x.shape)}, expected {expected.format(width)}"
            )


def window_vectors(said: FusionOutput) -> Tensor:
    """Return what a context reads of fused windows: their features, NaN where a fusion abstains.

    Parameters
    ----------
    said : FusionOutput
        Of windows in order.

    Returns
    -------
    Tensor, shape (window, dimension × embed)
    """
    return said.features.flatten(1).masked_fill(said.abstain.unsqueeze(1), torch.nan)


def require_causal(model: nn.Module) -> None:
    """Refuse a model of which any part sees later windows; for whatever loads one for live use.

    Raises
    ------
    CallError
        If a part is for offline use only.
    """
    for part in model.modules():
        if getattr(part, "offline_only", False):
            causal = [n for n in CONTEXTS if not n.startswith("offline")]
            raise CallError(
                f"found {type(part).__name__} for offline use only, which sees later windows, "
                f"expected a causal model in a live session; train one of {', '.join(causal)}"
            )


def _build_context(name: str, preset: str, arguments: Mapping[str, Any]) -> nn.Module:
    if name not in CONTEXTS:
        raise CallError(f"found the context {name!r}, expected one of {', '.join(CONTEXTS)}")
    presets = CONTEXTS[name].load_presets()
    if preset not in presets:
        raise CallError(f"found the preset {preset!r}, expected one of {', '.join(presets)}")
    context = CONTEXTS[name].load_class()
    known = inspect.signature(context).parameters
    for argument in arguments:
        if argument not in known:
            raise CallError(
                f"found the argument {argument!r} of {name!r}, expected {', '.join(known)}"
            )
    return context(**{**presets[preset], **arguments})

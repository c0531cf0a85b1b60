"""Begin with encoders that were pre-trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from physioemo.errors import CallError, CheckpointError
from physioemo.models.checkpoint import load_model
from physioemo.models.fused import FusedModel

__all__ = ["use_pretrained"]


def use_pretrained(
    model: FusedModel,
    folder: str | Path,
    modalities: Sequence[str] | None = None,
    *,
    names: Mapping[str, str] | None = None,
) -> list[str]:
    """Give a model's encoders the weights of a pre-trained model's; the fusion is left alone.

    Parameters
    ----------
    model : FusedModel
        Changed in place.
    folder : path
        What ``physioemo pretrain`` wrote, or any saved fused model.
    modalities : sequence of str, optional
        Which; by default all that both have.
    names : mapping of str to str, optional
        What a modality of the model is called there, where it is called otherwise.

    Returns
    -------
    list of str
        Modalities that got weights.

    Raises
    ------
    CheckpointError
        If the folder holds no fused model, none of the modalities, or an encoder built otherwise.
    CallError
        If the model does not have a modality.
    """
    source, _ = load_model(folder)
    if not isinstance(source, FusedModel):
        raise CheckpointError(
            f"found a {type(source).__name__} in {folder}, expected a fused model; give the folder "
            "that 'physioemo pretrain' wrote"
        )
    there = {m: (names or {}).get(m, m) for m in model.encoders}
    wanted = list(modalities or (m for m in there if there[m] in source.encoders))
    unknown = [m for m in wanted if m not in model.encoders]
    if unknown:
        raise CallError(
            f"found the modality {unknown[0]!r}, expected some of {', '.join(model.encoders)}"
        )
    if not wanted or any(there[m] not in source.encoders for m in wanted):
        raise CheckpointError(
            f"found encoders of {', '.join(source.encoders)} in {folder}, expected "
            f"{', '.join(wanted or model.encoders)}; name the modalities as in pre-training"
        )
    for name in wanted:
        mine, theirs = model.config["encoders"][name], source.config["encoders"][there[name]]
        if mine != theirs:
            raise CheckpointError(
                f"found the encoder {theirs} of {name!r} in {folder}, expected {mine}; build the "
                "model as in pre-training"
            )
    for name in wanted:
        model.encoders[name].load_state_dict(source.encoders[there[name]].state_dict())
    return wanted

"""Sentences of the methods text about networks, baselines and their training."""

from __future__ import annotations

from collections.abc import Sequence

from rhoflow.config import KNOWN_NETWORKS, Stage, Study
from rhoflow.report import labels
from rhoflow.training.names import LLM, baseline_kinds, plain_kinds

# Papers behind backbones, by a part of the name in the settings.
_PAPERS = {
    **{"efficientnet": "tan2019", "inception_v3": "szegedy2016", "xception": "chollet2017", "vgg": "simonyan2015"},
    **{"densenet": "huang2017", "minilm": "wang2020, reimers2019", "roberta": "liu2019", "albert": "lan2020"},
    **{"matbert": "trewartha2022", "matscibert": "gupta2022"},
}
_BASELINE_PAPERS = {"magpie-forest": "ward2016, ward2018", "chgnet-ridge": "deng2023"}


def model_sentences(study: Study) -> list[str]:
    """Which models there are, and what they start from."""
    sentences = []
    if "image" in study.models:
        image = study.image
        size = f", resized to {image.size} pixels" if image.size else ""
        sentences.append(
            f"The image network is {_name(image.backbone)} of timm [[timm]]{_paper(image.backbone)}, started from"
            f" {_weights(image.weights)}{size}. Where it looks was shown by Grad-CAM [[selvaraju2017]] in Captum"
            " [[kokhlikyan2020]]."
        )
    if "text" in study.models:
        text = study.language
        sentences.append(
            f"The text network is {_name(text.backbone)}{_paper(text.backbone)} in Transformers [[wolf2020]], started"
            f" from {'random' if text.weights == 'random' else 'its pretrained'} weights, with {text.pooling} pooling"
            f" over at most {text.max_tokens} tokens."
        )
    sentences += _joint(study)
    baselines = [
        f"{labels.model_label(name)}{_cite(_BASELINE_PAPERS.get(name, ''))}"
        for name in dict(plain_kinds(baseline_kinds(study)))
        if name != "mean"
    ]
    sentences.append(
        f"Baselines are the mean predictor, {', '.join(baselines)}, with scikit-learn [[pedregosa2011]]."
    )
    return sentences


def _joint(study: Study) -> list[str]:
    sentences = []
    if "fusion" in study.models:
        kind = {
            "penultimate": "joins the last hidden layers of the two by two dense layers, as published [[massa2024]]",
            "scalar": "joins the image network's prediction with the mean-pooled text, as published [[massa2024]]",
        }[study.fusion.kind]
        sentences.append(f"The fusion network {kind}.")
    if "clip" in study.models:
        sentences.append(
            f"The CLIP network [[radford2021]] is {study.clip.model} of OpenCLIP [[openclip]], weights"
            f" {study.clip.weights}, with a linear layer on both embeddings."
        )
    if LLM in study.models and not study.llm.dry_run:
        sentences.append(f"{study.llm.model} was asked in context, with {study.llm.examples} examples.")
    return sentences


def training_sentences(study: Study) -> list[str]:
    """Return the hyper-parameters; nothing where no network is trained."""
    if not KNOWN_NETWORKS.keys() & set(study.models):
        return []
    widths = ", ".join(map(str, study.readout.widths))
    scaled = "standardised" if study.training.scaling == "standard" else "min-max scaled"
    sentences = [
        f"On a backbone stands a readout with layers of {widths} and one output; dropout {study.readout.dropout:g}.",
        "Training has two stages with AdamW [[loshchilov2019]] on the mean squared error of the"
        f" {scaled} target, with early stopping on the validation part:"
        f" the readout on frozen features ({_stage(study.training.readout)}), then all weights"
        f" ({_stage(study.training.finetune)}).",
    ]
    frozen = [level for level in study.levels if level in study.training.frozen_levels]
    if frozen:
        sentences.append(f"With texts of the kind {_listed(frozen)}, backbones stayed frozen.")
    if study.search.models:
        sentences.append(
            f"For {_listed(study.search.models)}, hyper-parameters were chosen by Optuna [[akiba2019]]"
            f" ({study.search.trials} trials, {study.search.inner_folds} inner folds of the training part)."
        )
    seeds = _listed([str(seed) for seed in study.seeds])
    sentences.append(
        f"Networks are trained with PyTorch [[paszke2019]] and Lightning [[lightning]]; random seeds: {seeds}."
    )
    return sentences


def _stage(stage: Stage) -> str:
    schedule = f", {stage.schedule} schedule" if stage.schedule != "constant" else ""
    return (
        f"at most {stage.epochs} epochs, learning rate {stage.learning_rate:g}, batches of {stage.batch_size},"
        f" patience {stage.patience}, weight decay {stage.weight_decay:g}{schedule}"
    )


def _name(name: str) -> str:
    """Last part of a backbone's name: a folder of this machine is nobody's business."""
    return name.partition(":")[2].rsplit("/", 1)[-1] if ":" in name else name.rstrip("/").rsplit("/", 1)[-1]


def _weights(weights: str) -> str:
    return "random weights" if weights == "random" else f"the weights {_name(weights)}"


def _paper(name: str) -> str:
    return _cite(next((keys for part, keys in _PAPERS.items() if part in name.lower()), ""))


def _cite(keys: str) -> str:
    return f" [[{keys}]]" if keys else ""


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))

"""Sentences of the methods text about networks, baselines and their training."""

from __future__ import annotations

from collections.abc import Sequence

from rhoflow.config import KNOWN_NETWORKS, FinetuneStage, ImageModel, Stage, Study
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
            f" {_weights(image.weights)}{size}.{_images(image)} Where it looks was shown by Grad-CAM"
            " [[selvaraju2017]] in Captum [[kokhlikyan2020]]."
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


def _images(image: ImageModel) -> str:
    changed = {
        "none": "",
        "published": " Training images were flipped and turned at random, as published [[massa2024]].",
        "full": " Training images were shifted along the lattice, flipped and turned by quarters at random.",
    }[image.augment]
    side = " It reads the image's amplitude and the lattice constant too." if image.side_inputs else ""
    return changed + side


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
    networks = [KNOWN_NETWORKS[name] for name in KNOWN_NETWORKS if name in study.models]
    if not networks:
        return []
    training = study.training
    sentences = []
    if any("readout" in network.sections for network in networks):
        widths = ", ".join(map(str, study.readout.widths))
        sentences.append(
            f"On a backbone stands a readout with layers of {widths} and one output; dropout"
            f" {study.readout.dropout:g}."
        )
    scaled = "standardised" if training.scaling == "standard" else "min-max scaled"
    stages = [f"the readout on frozen features ({_stage(training.readout)})"] if training.readout.epochs else []
    stages += (
        [f"{_trained(training.finetune)} ({_stage(training.finetune)}{_unfrozen(training.finetune)})"]
        if training.finetune.epochs
        else []
    )
    loss = f"the mean squared error of the {scaled} target"
    if study.two_part:
        loss = f"the cross entropy of being zero or not, and of what is not {loss}"
    sentences.append(
        f"AdamW [[loshchilov2019]] minimised {loss}, with early stopping on"
        f" the validation part: {', then '.join(stages) or 'no stage was run'}."
    )
    frozen = [level for level in study.levels if level in training.frozen_levels]
    if frozen and any("text" in network.reads for network in networks):
        sentences.append(f"With texts of the kind {_listed(frozen)}, backbones stayed frozen.")
    if study.two_part:
        sentences.append(
            "Networks and baselines predict the chance of not being zero and the value of those that are not."
        )
    if training.precision != 32:
        where = " where the GPU has it" if training.precision == "auto" else ""
        sentences.append(f"Steps were computed in mixed precision with bfloat16{where}.")
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
    facts = [
        f"at most {labels.counted(stage.epochs, 'epoch')}",
        f"learning rate {stage.learning_rate:g}",
        f"batches of {stage.batch_size}",
        f"patience {stage.patience}",
        f"weight decay {stage.weight_decay:g}",
        *([f"{stage.schedule} schedule"] if stage.schedule != "constant" else []),
        *([f"gradients no longer than {stage.clip_norm:g}"] if stage.clip_norm else []),
        *([f"steps of {stage.accumulate} batches"] if stage.accumulate > 1 else []),
    ]
    return ", ".join(facts)


def _trained(stage: FinetuneStage) -> str:
    blocks = labels.counted(stage.unfreeze_blocks, "block") if stage.unfreeze_blocks else None
    return f"the readout and the last {blocks} of the backbone" if blocks else "all weights"


def _unfrozen(stage: FinetuneStage) -> str:
    """Say where the blocks of the backbone are not all treated alike."""
    facts = [f"learning rate times {stage.layer_decay:g} from block to block"] if stage.layer_decay < 1 else []
    every = labels.counted(stage.unfreeze_every, "epoch")
    facts += [f"a further block unfrozen every {every}"] if stage.unfreeze_every else []
    return "".join(f", {fact}" for fact in facts)


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

"""Train tiny networks, as a script: further processes of a training are started as the same command."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import tiny

from rhoflow.config import Readout
from rhoflow.models.networks import NETWORKS
from rhoflow.training.pack import train_pack

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", type=Path, required=True)
parser.add_argument("--encoder", type=Path, required=True)
parser.add_argument("--devices", type=int, required=True)
parser.add_argument("--model", default="image")
parser.add_argument("--seeds", type=int, default=1)
parser.add_argument("--dropout", type=float, default=0.0)
parser.add_argument("--finetune", type=json.loads, default={}, help="JSON: changes of the stage")

if __name__ == "__main__":
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    training = tiny.tiny_training()
    finetune = training.finetune.model_copy(update=arguments.finetune)
    training = training.model_copy(update={"devices": arguments.devices, "finetune": finetune})
    readout = Readout(widths=(24, 16, 8), dropout=arguments.dropout)
    options = tiny.tiny_options(arguments.encoder).model_copy(update={"readout": readout})
    pack = tiny.tiny_pack(
        arguments.root,
        arguments.encoder,
        arguments.model,
        training=training,
        options=NETWORKS[arguments.model].take_options(options),
    )
    train_pack(pack, [(0, seed) for seed in range(arguments.seeds)], tiny.tiny_data)

"""Cut the density image of every crystal of one shard: slices/<shard>.npz and .png.zip, images/<name>/<shard>.npz."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.density.images import slice_shard
from rhoflow.job_record import job

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--archive", type=Path, required=True, help="raw/<shard>.h5")
parser.add_argument("--store", type=Path, required=True, help="slices/<shard>.npz, or other images")
parser.add_argument(
    "--options", type=Study.model_validate_json, required=True, help="JSON with field, deformation, grid and slices"
)

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        study = arguments.options
        slice_shard(
            arguments.archive,
            arguments.store,
            field=study.field,
            options=study.slices,
            shape=study.grid.shape,
            smoothing=study.deformation.smoothing,
        )

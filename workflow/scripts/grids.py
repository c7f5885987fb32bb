"""Regrid the densities of one shard into grids/<shard>.zarr.zip."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.density.grids import grid_shard
from rhoflow.job_record import job

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--archive", type=Path, required=True, help="raw/<shard>.h5")
parser.add_argument("--store", type=Path, required=True, help="grids/<shard>.zarr.zip")
parser.add_argument(
    "--options", type=Study.model_validate_json, required=True, help="JSON with field, deformation and grid"
)

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        study = arguments.options
        smoothing = study.deformation.smoothing
        grid_shard(arguments.archive, arguments.store, field=study.field, shape=study.grid.shape, smoothing=smoothing)

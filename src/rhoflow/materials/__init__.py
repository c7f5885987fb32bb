"""Material ids, digests, shard reports and the HDF5 raw archive."""

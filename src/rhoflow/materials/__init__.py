"""Material ids, properties with units, digests, rejections and the HDF5 raw archive."""

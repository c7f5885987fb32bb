"""Volumetric maths: reading, regridding, lattice planes, slices, image scaling."""

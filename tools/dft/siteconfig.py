"""How GPAW is compiled on Debian and Ubuntu; see README.md."""

compiler = "g++"
fftw = True
libraries = ["xc", "fftw3", "openblas"]
extra_compile_args = ["-O3", "-fopenmp", "-fPIC"]
extra_link_args = ["-fopenmp"]

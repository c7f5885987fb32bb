"""Names of the files that weights consist of; light, because the Snakefile asks for them."""

CONFIG = "config.json"
WEIGHTS = "model.safetensors"

"""Names of the files that weights consist of; light, because the Snakefile asks for them."""

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CLIP_CONFIG = "open_clip_config.json"
CLIP_WEIGHTS = "open_clip_model.safetensors"

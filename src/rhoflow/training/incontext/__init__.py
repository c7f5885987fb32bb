"""A language model in context: some crystals with their values in the prompt, then one without (docs/llm.md)."""

"""The config: schema, loader and the generator of docs/config.md."""

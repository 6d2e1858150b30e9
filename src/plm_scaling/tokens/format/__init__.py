"""The format of token shards: vocabulary, packing, Arrow files, manifest."""

"""Vocabulary, packing, Arrow shards, manifest and the reader that training uses."""

STAGE_VERSION = 2

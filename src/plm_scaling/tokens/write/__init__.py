"""From selected sequences to token shards."""

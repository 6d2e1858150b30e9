"""The sweep: model shapes, cells, FLOPs and the bill."""

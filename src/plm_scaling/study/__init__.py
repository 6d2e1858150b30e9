"""Facts of a study: shapes of models, FLOPs, cells, layouts, GPUs."""

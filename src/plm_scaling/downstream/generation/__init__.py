"""What generated proteins are like: measures, beside natural and shuffled ones."""

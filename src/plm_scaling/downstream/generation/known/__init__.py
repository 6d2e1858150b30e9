"""What generated proteins are compared with: training and natural ones."""

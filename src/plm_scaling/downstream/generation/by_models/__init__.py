"""What other models say of proteins: perplexity, predicted structures, and what these are like."""

"""What reproduces one paper: Cheng et al., Training Compute-Optimal Protein Language Models (2024).

`logs` imports the released training logs; the other modules hold the study's own procedures, the
laws fitted to its runs, the published constants, and the page that compares them.
"""

FIGURES = (
    *("isoflop", "frontier", "loss_contours", "parametric", "forecasts"),
    *("ur50_unimeta", "repeated", "transfer", "mask_ratio", "fitness_and_loss"),
)

"""Speed and memory, measured as ratios in one run. Nothing here runs in a generation."""

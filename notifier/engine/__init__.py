"""Every decision, pure: what an event means, who should hear of it, when, and what undoes it. Time is an argument."""
